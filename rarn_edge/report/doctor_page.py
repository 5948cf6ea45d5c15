"""A diagnosis as text for a terminal: facts, providers, and what to do. Pure: the caller prints."""

from rich import box
from rich.markup import escape
from rich.table import Table

from rarn_edge.bench.doctor import Diagnosis, extra_of
from rarn_edge.bench.profile import LITTLE_GAIN, Products

_STATES = {
    "starts": "[green]starts[/green]",
    "does not start": "[bold red]does not start[/]",
    "not in this build": "[dim]absent[/]",
}


def facts_table(found: Diagnosis) -> Table:
    """The machine and its software."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    where = found.environment
    quota = "none" if found.quota_cores is None else f"{found.quota_cores:g} cores"
    absent = [name for name, version in found.packages.items() if version is None]
    rows = [
        ("processor", where.cpu if where.cpu_model is None else f"{where.cpu} ({where.cpu_model})"),
        ("features", " ".join(found.cpu_features) or "not known on this system"),
        ("INT8", found.int8),
        ("multiply-adds", _products(found.products)),
        ("cores", f"{where.cores_available} usable; cgroup quota {quota}"),
        (
            "memory",
            f"{_gb(found.memory_free_bytes)} free of {_gb(where.memory_bytes)}; swap in use {_gb(found.swap_used_bytes)}",
        ),
        ("disk", f"{_gb(found.disk_free_bytes)} free here; engine cache in {found.cache}"),
        ("GPU", where.gpu or "none that nvidia-smi knows"),
        ("system", f"{where.os}, clock governor {where.governor or 'not visible'}"),
        ("runtime", ", ".join(found.runtimes) or f"onnxruntime {where.onnxruntime}, from no known package"),
        ("TensorRT", found.tensorrt if found.tensorrt != "unknown" else "none from pip"),
        ("Python", f"{where.python}, rarn-edge {where.rarn_edge}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in found.packages.items() if version) or "none"),
    ]
    if absent:
        extras = sorted({extra_of(name) for name in absent} - {""})
        hint = f'; pip install "rarn-edge[{",".join(extras)}]"' if extras else ""
        rows.append(("not installed", f"{', '.join(absent)}{hint}"))
    for name, value in rows:
        table.add_row(name, escape(value))
    return table


def providers_table(found: Diagnosis) -> Table:
    """Every provider by the name that --provider takes."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("--provider", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("devices; why not, and how to get it", overflow="fold")
    for each in found.providers:
        devices = [
            ", ".join(filter(None, (f"{d.index}: {d.kind}", d.vendor, d.description, f"plug-in {d.plugin_version}")))
            for d in each.devices
        ]
        table.add_row(
            each.name, _STATES[each.state], escape("\n".join(filter(None, (*devices, each.reason, each.get))))
        )
    return table


def _products(found: Products) -> str:
    rates = f"{found.float32_macs_per_s / 1e9:.1f} G/s in float32, {found.int8_macs_per_s / 1e9:.1f} G/s in INT8, one thread"
    if found.integer_gain < LITTLE_GAIN:
        return f"{rates}: INT8 saves memory here, hardly time"
    return f"{rates}: INT8 may be up to {found.integer_gain:.1f}x as fast"


def _gb(value: int | None) -> str:
    return "?" if value is None else f"{value / 1e9:.1f} GB"
