"""Great Expectations' own pages, Data Docs, for those who know them; our report is validation.html.

Each table of `tables` is a suite of its own, with a page of what it expects and one of what was found. The pages load their
style and script from the network (20 files of CDNs); without it they are bare text.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.dataset import Description
from pipeline.params import ValidateParams
from pipeline.validate import suite, tables
from pipeline.validate.suite import Rule

if TYPE_CHECKING:
    import pandas as pd

_SITE = "data_docs"


def build(
    features: "pd.DataFrame",
    pairs: "pd.DataFrame",
    description: Description,
    params: ValidateParams,
    folder: Path,
) -> None:
    """Writes the pages into `folder`, `index.html` first of them; the other arguments are those of `check`."""
    context = _context(folder)
    rules = suite.rules(description, params)
    frames = tables.build(features, pairs, description)
    for name, frame in frames.items():
        _run(context, name, frame, [rule for rule in rules if rule.table == name])
    context.build_data_docs(site_names=[_SITE])


def _context(folder: Path) -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    site = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)  # an ephemeral context has one in a temporary folder
    context.add_data_docs_site(_SITE, site)
    return context


def _run(context: Any, name: str, frame: "pd.DataFrame", rules: list[Rule]) -> None:
    """Validates `frame`; the context keeps what was found."""
    import great_expectations as gx

    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe(name)
    for rule in rules:
        rule.expectation.description = f"{rule.id}: {rule.description}, {rule.limit}"
    expectations = context.suites.add(gx.ExpectationSuite(name=name, expectations=[rule.expectation for rule in rules]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=expectations))
    definition.run(batch_parameters={"dataframe": frame}, result_format="SUMMARY")
