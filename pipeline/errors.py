"""Every error that a user can cause, as one tree.

    PipelineError                   catch it to handle all of them; `cli` prints it as one `error:` line, exit code 1
    ├── ParamsError                 params.yaml is missing, is not YAML, or has an unknown key or invalid value
    ├── SourceError                 a source of the data set is missing or invalid
    │   └── DownloadError           no mirror provided the data set; `run` then falls back to the bundled digits
    ├── DatasetError                data/dataset is missing or is not what ingest wrote
    ├── MissingInputError           a stage ran before the stage that makes its input
    ├── ValidationFailedError       the data failed an expectation; the report is written all the same
    ├── TrainingError               training cannot start, or diverged
    ├── EvaluationError             model and data do not match, or the predictions are not probabilities
    ├── SigningError                a record cannot be signed, or signatures cannot be checked
    ├── TrackingError               the tracking server or database cannot be used as configured
    │   └── UnreachableError        it does not answer; training continues without it, register does not
    └── RegistryError               the model registry could not do what was asked
        ├── LockedError             another process is changing the model's registry stages
        └── RefusedError            the gate, or the order of registry stages, does not allow the promotion

A message is one line: what is wrong, where, and the way out.
"""


class PipelineError(Exception):
    """Something that the user can fix; the message says how, in one line."""


class ParamsError(PipelineError):
    """params.yaml is missing, is not YAML, or has an unknown key or invalid value."""


class SourceError(PipelineError):
    """A source of the data set is missing or invalid."""


class DownloadError(SourceError):
    """No mirror provided the data set."""


class DatasetError(PipelineError):
    """data/dataset is missing or is not what ingest wrote."""


class MissingInputError(PipelineError):
    """A stage ran before the stage that makes its input."""


class ValidationFailedError(PipelineError):
    """The data failed an expectation."""


class TrainingError(PipelineError):
    """Training cannot start, or diverged."""


class EvaluationError(PipelineError):
    """Model and data do not match, or the predictions are not probabilities."""


class SigningError(PipelineError):
    """A record cannot be signed, or signatures cannot be checked."""


class TrackingError(PipelineError):
    """The tracking server or database cannot be used as configured."""


class UnreachableError(TrackingError):
    """The tracking server or database does not answer."""


class RegistryError(PipelineError):
    """The model registry could not do what was asked."""


class LockedError(RegistryError):
    """Another process is changing the model's registry stages."""


class RefusedError(RegistryError):
    """The gate, or the order of registry stages, does not allow the promotion."""
