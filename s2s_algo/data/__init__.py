"""From bytes to batches: records, pairs, vocabularies, channels, the corpus, buckets, and text preparation."""
