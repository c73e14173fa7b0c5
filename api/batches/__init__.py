"""Files that callers leave here, and batches of requests made of them: run on the same queue, behind everybody else."""
