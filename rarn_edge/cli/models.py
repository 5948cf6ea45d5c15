"""`rarn-edge models`: list the models."""

from dataclasses import asdict

from rarn_edge.cli.app import SHOW, app, out, print_json
from rarn_edge.cli.options import Json


@app.command(rich_help_panel=SHOW)
def models(as_json: Json = False) -> None:
    """List the models: input, parameters, multiply-adds, shipped weights and their measured accuracy."""
    from rarn_edge.assets import shipped_quality
    from rarn_edge.models.catalog import CATALOG
    from rarn_edge.report.models import models_table

    quality = shipped_quality()
    if as_json:
        print_json([{**asdict(entry), "shipped": quality.get(name)} for name, entry in CATALOG.items()])
    else:
        lines = {
            name: "\n".join(f"{labels}: {text}" for labels, text in sorted(each.items(), reverse=True))
            for name, each in quality.items()
        }
        out.print(models_table(list(CATALOG.values()), lines).to_rich())
