"""Other programs that learn to translate, each run by its own commands, and ours by ours."""
