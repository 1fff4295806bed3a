"""Every error a user can cause, as one tree.

    PipelineError               catch it to handle all of them; `cli` prints it as one `error:` line, exit code 1
    ├── ParamsError             params.yaml is missing, is not YAML, or holds something no stage understands
    ├── SourceError             a source of the data set cannot be had, or is not what it should be
    │   └── DownloadError       no place answered with the data set; `run` then falls back to embedded data
    ├── DatasetError            data/dataset is missing or is not what ingest wrote
    ├── MissingInputError            a stage was run before the stage that makes its input
    ├── ValidationFailedError        the data broke an expectation; the report is written all the same
    ├── TrainingError           training cannot start or did not converge to numbers
    ├── EvaluationError         the model and the data do not fit each other, or the answers are not probabilities
    ├── TrackingError           the tracking server or database cannot be used as asked
    │   └── UnreachableError    it does not answer; training goes on without it, register does not
    └── RegistryError           the model registry refused or could not do what was asked
        ├── LockedError         another process changes the stages of the model
        └── RefusedError        a promotion that the gate or the order of the stages does not allow

A message is one line: what is wrong, where, and the way out.
"""


class PipelineError(Exception):
    """Something the user can mend; the message says how, in one line."""


class ParamsError(PipelineError):
    """params.yaml is missing, is not YAML, or holds something no stage understands."""


class SourceError(PipelineError):
    """A source of the data set cannot be had, or is not what it should be."""


class DownloadError(SourceError):
    """No place answered with the data set."""


class DatasetError(PipelineError):
    """data/dataset is missing or is not what ingest wrote."""


class MissingInputError(PipelineError):
    """A stage was run before the stage that makes its input."""


class ValidationFailedError(PipelineError):
    """The data broke an expectation."""


class TrainingError(PipelineError):
    """Training cannot start or did not converge to numbers."""


class EvaluationError(PipelineError):
    """The model and the data do not fit each other, or the answers are not probabilities."""


class TrackingError(PipelineError):
    """The tracking server or database cannot be used as asked."""


class UnreachableError(TrackingError):
    """The tracking server or database does not answer."""


class RegistryError(PipelineError):
    """The model registry refused or could not do what was asked."""


class LockedError(RegistryError):
    """Another process changes the stages of the model."""


class RefusedError(RegistryError):
    """A promotion that the gate or the order of the stages does not allow."""
