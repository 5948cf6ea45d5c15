"""A diagnosis of this machine as tables: facts, and providers with what to do."""

from rarn_edge.bench.doctor import Diagnosis, extra_of
from rarn_edge.report.table import Table, facts, table, text_column
from rarn_edge.report.units import gigabytes
from rarn_edge.runtime.peaks import LITTLE_GAIN, Products
from rarn_edge.runtime.plugins import PluginDevice


def facts_table(found: Diagnosis) -> Table:
    """The machine and its software."""
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
            f"{gigabytes(found.memory_free_bytes)} free of {gigabytes(where.memory_bytes)}; "
            f"swap in use {gigabytes(found.swap_used_bytes)}",
        ),
        ("disk", f"{gigabytes(found.disk_free_bytes)} free here; engine cache in {found.cache}"),
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
    return facts("", rows)


def providers_table(found: Diagnosis) -> Table:
    """Every provider by the name that --provider takes."""
    columns = ("--provider", text_column("state"), text_column("devices; why not, and how to get it"))
    rows = [
        (each.name, each.state, "\n".join(filter(None, (*map(_device, each.devices), each.reason, each.get))))
        for each in found.providers
    ]
    return table("", columns, rows)


def _device(device: PluginDevice) -> str:
    facts = (f"{device.index}: {device.kind}", device.vendor, device.description, f"plug-in {device.plugin_version}")
    return ", ".join(filter(None, facts))


def _products(found: Products) -> str:
    rates = f"{found.float32_macs_per_s / 1e9:.1f} G/s in float32, {found.int8_macs_per_s / 1e9:.1f} G/s in INT8, one thread"
    if found.integer_gain < LITTLE_GAIN:
        return f"{rates}: INT8 saves memory here, hardly time"
    return f"{rates}: INT8 may be up to {found.integer_gain:.1f}x as fast"
