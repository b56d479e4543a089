"""What Docker runs: paths, exit codes and signals of the SageMaker container contract."""
