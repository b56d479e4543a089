"""The folders, the commands and the client of a SageMaker job and endpoint, on one's own machine."""
