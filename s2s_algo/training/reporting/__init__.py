"""What people see of a training job: a page, curves for TensorBoard, numbers as JSON lines.

Nothing here may change or stop the training: see ``reporter.JobReporter``.
"""
