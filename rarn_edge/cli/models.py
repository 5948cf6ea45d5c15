"""`rarn-edge models`: list the models."""

from dataclasses import asdict

from rarn_edge.cli.app import SHOW, app, out, print_json
from rarn_edge.cli.options import Json


@app.command(rich_help_panel=SHOW)
def models(as_json: Json = False) -> None:
    """List the models: input, parameters, multiply-adds, shipped weights and their accuracy; and those of installed packages."""
    from rarn_edge.assets import shipped_quality
    from rarn_edge.models.catalog import CATALOG
    from rarn_edge.models.find import installed_networks
    from rarn_edge.report.models import models_table

    quality, installed = shipped_quality(), installed_networks()
    if as_json:
        own = [{**asdict(entry), "shipped": quality.get(name)} for name, entry in CATALOG.items()]
        print_json([*own, *(asdict(entry) for entry in installed)])
    else:
        lines = {
            name: "\n".join(f"{labels}: {text}" for labels, text in sorted(each.items(), reverse=True))
            for name, each in quality.items()
        }
        out.print(models_table(list(CATALOG.values()), lines, installed).to_rich())
