"""``S2S_CACHE_DIR``: the corpora of a job are there for the next one."""

from tests.contract.train.jobs import TINY, OptMl, framed, random_pairs


def test_the_next_job_takes_the_corpora_of_the_one_before_and_learns_the_same(jobs, tmp_path):
    cache = tmp_path / "cache"
    finished = []
    for name, environment in (("without", {}), ("first", {"S2S_CACHE_DIR": str(cache)}), ("second", None)):
        opt_ml = OptMl.ready(tmp_path / name / "ml", TINY | {"max_num_batches": "3"})
        opt_ml.put("train/train.rec", framed(random_pairs(24, seed=1)))
        opt_ml.put("validation/val.rec", framed(random_pairs(13, seed=2)))
        job = jobs.run(opt_ml, {"S2S_CACHE_DIR": str(cache)} if environment is None else environment)
        assert job.exit_code == 0, job.log
        finished.append((job.found(r"(\w+) channel: unchanged"), (opt_ml.model / "model.safetensors").read_bytes()))
    assert [found for found, _ in finished] == [[], [], ["train", "validation"]]
    assert finished[0][1] == finished[1][1] == finished[2][1]
    names = sorted(folder.name.partition("-")[0] for folder in cache.iterdir() if folder.is_dir())
    assert names == ["train", "validation"]
