"""Further findings of a benchmark as tables: memory in parts, scenarios, the audit, where the time goes."""

from rarn_edge.bench.extras.profile import Profile, Share
from rarn_edge.bench.result import BenchReport, BenchRow
from rarn_edge.report.table import UNKNOWN, Table, table, text_column
from rarn_edge.report.units import count, giga, megabytes, milliseconds, percent


def extra_tables(report: BenchReport) -> list[Table]:
    """Whatever this report has beyond its main table."""
    found = [
        _percentiles(report),
        _memory(report),
        _best_batches(report),
        _servers(report),
        _multi_streams(report),
        _audits(report),
        _islands(report),
    ]
    for profile in report.profiles:
        found += [_limits(profile), _operators(profile), _nodes(profile)]
    return [each for each in found if each.rows]


def _percentiles(report: BenchReport) -> Table:
    on_gpu = any(row.device_median_s is not None for row in report.rows)
    rows = []
    for row in report.rows:
        tail = (row.latency_p90_s, row.latency_p95_s, row.latency_p99_s)
        figures = (row.latency_median_s, *tail, row.cpu_median_s, row.session_s, *((row.device_median_s,) * on_gpu))
        rows.append((_row_name(report, row), str(len(row.samples_s)), *map(milliseconds, figures)))
    note = "A percentile needs enough calls: p90 64, p95 130, p99 662. CPU: processor time of one call."
    note += " No copies: input and output stay in the GPU's memory." * on_gpu
    columns = ("latency, ms", "calls", "median", "p90", "p95", "p99", "CPU", "to open", *(("no copies",) * on_gpu))
    return table("Latency", columns, rows, note)


def _memory(report: BenchReport) -> Table:
    on_gpu = any(row.memory is not None and row.memory.device_bytes is not None for row in report.rows)
    rows = []
    for row in report.rows:
        if row.memory is not None:
            memory = row.memory
            figures = (memory.session_bytes, memory.peak_bytes, memory.steady_bytes, memory.peak_without_arena_bytes)
            whole = (row.file_size_bytes, memory.weights_bytes, *figures, memory.import_bytes)
            cells = map(megabytes, (*whole, *((memory.device_bytes,) * on_gpu)))
            rows.append((_row_name(report, row), *cells))
    parts = ("file", "weights", "opened", "peak", "steady", "peak,\nno arena", "imports\nalone")
    columns = ("memory, MB", *parts, *(("on the\nGPU",) * on_gpu))
    note = (
        "Resident memory of a fresh process above one that only imports (last column). Weights: constants that the executed "
        "graph reads, counted. Arena: ONNX Runtime's allocator."
    )
    return table("Memory in parts", columns, rows, note)


def _best_batches(report: BenchReport) -> Table:
    rows = []
    for key in dict.fromkeys((row.label, row.threads) for row in report.rows):
        own = [row for row in report.rows if (row.label, row.threads) == key]
        if len(own) < 2:
            continue
        best = max(own, key=lambda row: row.throughput_images_per_s)
        gain = best.throughput_images_per_s / min(own, key=lambda row: row.batch).throughput_images_per_s
        figures = (str(best.batch), f"{best.throughput_images_per_s:,.0f}", f"{gain:.2f}")
        rows.append((_name(report, *key[:1], None, key[1]), *figures))
    columns = ("offline", "best batch", "images/s", "gain over the smallest")
    return table("Offline: throughput over the batch sweep", columns, rows)


def _servers(report: BenchReport) -> Table:
    rows = []
    for found in report.servers:
        rate = UNKNOWN if found.rate_per_s is None else f"{found.rate_per_s:,.0f}"
        figures = (rate, milliseconds(found.p99_s), milliseconds(found.bound_s), str(found.queries))
        rows.append((_name(report, found.label, None, found.threads), *figures))
    columns = ("server", "arrivals/s", "p99 ms", "bound ms", "queries")
    note = "The highest rate of random (Poisson) arrivals, one image each, whose p99 from arrival to answer meets the bound."
    return table("Server", columns, rows, note)


def _multi_streams(report: BenchReport) -> Table:
    rows = [
        (
            _name(report, found.label, None, found.threads),
            str(found.images),
            milliseconds(found.median_s),
            milliseconds(found.p99_s),
        )
        for found in report.multi_streams
    ]
    return table("Multi-stream", ("one query of several images", "images", "median ms", "p99 ms"), rows)


def _limits(profile: Profile) -> Table:
    peaks = profile.peaks
    products = (profile.macs_per_s, peaks.float32_macs_per_s, peaks.int8_macs_per_s)
    traffic = (_traffic(profile), peaks.bytes_per_s, peaks.bytes_per_s)
    rows = [
        ("multiply-adds, G/s", *(giga(value) for value in products), percent(profile.peak_share)),
        ("memory traffic, GB/s", *(giga(value) for value in traffic), percent(profile.bandwidth_share)),
    ]
    note = (
        f"Limits: the best of a 128x512x512 matrix product on the CPU in the same runtime, and of a 32 MB copy, with "
        f"{profile.threads} thread(s). {profile.provider_share:.0%} of the node time was on the provider asked for."
    )
    if profile.bytes_moved:
        note += (
            f" Traffic counts inputs, weights and outputs of each node once ({profile.bytes_moved / 1e6:.1f} MB). Activations "
            f"peak at {profile.activation_peak_bytes / 1e6:.2f} MB in {profile.activation_peak_node}."
        )
    if (profile.peak_share or 0) > 1:
        note += " Above 100%: the machine was busier while its limit was measured; measure again when it is quiet."
    title = f"{profile.label} at batch {profile.batch}: distance to this machine's limits"
    return table(title, ("", "reached", "limit float32", "limit int8", "share"), rows, note)


def _traffic(profile: Profile) -> float | None:
    return None if profile.bandwidth_share is None else profile.bandwidth_share * profile.peaks.bytes_per_s


def _operators(profile: Profile) -> Table:
    rows = [(each.name, str(each.calls), *_time_and_limits(each)) for each in profile.operators]
    note = (
        f"ONNX Runtime's profile; {milliseconds(profile.nodes_s)} ms in all nodes of one call, slowed by the profiler."
    )
    title = f"{profile.label} at batch {profile.batch}: time by operator"
    return table(title, ("operator", "nodes", *_LIMIT_COLUMNS), rows, note, folded=True)


def _nodes(profile: Profile) -> Table:
    rows = [(each.name, each.operator, *_time_and_limits(each)) for each in profile.slowest_nodes]
    title = f"{profile.label} at batch {profile.batch}: the slowest nodes"
    note = (
        "Of limit: multiply-adds against the measured peak of the same type of number; traffic (inputs, weights and outputs "
        "once) against the measured copy, and above 100% it stayed in the caches."
    )
    return table(title, ("node", text_column("operator"), *_LIMIT_COLUMNS), rows, note, folded=True)


_LIMIT_COLUMNS = ("ms", "share", "GMAC/s", "of limit", "GB/s", "of limit")


def _time_and_limits(share: Share) -> tuple[str, ...]:
    products = (giga(share.macs_per_s), percent(share.peak_share))
    return (
        milliseconds(share.seconds), f"{share.share:.1%}", *products, giga(share.bytes_per_s), percent(share.bandwidth_share),
    )  # fmt: skip


def _audits(report: BenchReport) -> Table:
    rows = [
        (
            found.label,
            f"{found.int8_convolutions} of {found.convolutions}",
            percent(found.int8_share, 1),
            str(len(found.islands)),
            f"{found.conversions} ({found.conversion_time_share:.1%})",
            UNKNOWN if found.saturation_flips is None else f"{found.saturation_flips} of {found.saturation_images}",
            f"{found.fused_db:.1f}",
        )
        for found in report.audits
    ]
    columns = (
        "INT8 file", "in INT8", "mult-adds in INT8", "float islands", "conversions", "flips", "SNR dB",
    )  # fmt: skip
    note = (
        "What ONNX Runtime really ran on this CPU, from its optimised graph and profile: convolutions in INT8 and their share of "
        "multiply-adds, what stayed in float, conversions left and their time. Flips: decisions on drawn faces that "
        "change when 8-bit products cannot saturate. SNR: logits against the simulation in float."
    )
    return table("INT8 audit", columns, rows, note)


def _islands(report: BenchReport) -> Table:
    rows = [(found.label, island) for found in report.audits for island in found.islands]
    return table("Float islands of the INT8 files", ("INT8 file", text_column("operators, where and why")), rows)


def _row_name(report: BenchReport, row: BenchRow) -> str:
    return _name(report, row.label, row.batch, row.threads)


def _name(report: BenchReport, label: str, batch: int | None, threads: int) -> str:
    parts = [label]
    if batch is not None and len({row.batch for row in report.rows}) > 1:
        parts.append(f"batch {batch}")
    if len({row.threads for row in report.rows}) > 1:
        parts.append(count(threads, "thread"))
    return ", ".join(parts)
