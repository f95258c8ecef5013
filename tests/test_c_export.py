"""Networks as C headers: the bits of predict, clean under every compiler there is."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from cbackprop import Network, activations
from cbackprop.activations import ACTIVATIONS

BUILT_IN = [name for name, row in ACTIVATIONS.items() if row.own is None]
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
COMPILERS = {
    "gcc": ["gcc", "-std=c99"],
    "clang": ["clang", "-std=c99"],
    "g++": ["g++", "-std=c++11", "-x", "c++"],
    "clang++": ["clang++", "-std=c++11", "-x", "c++"],
}
C_COMPILER = next((c for c in ("gcc", "clang") if shutil.which(c)), None)


def has_fma():
    """Whether this CPU is an x86 with FMA, so that -mfma is an option."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return bool(re.search(r"^flags\s*:.*\bfma\b", file.read(), re.MULTILINE))
    except OSError:
        return False


TARGETS = [[], ["-mfma"]] if has_fma() else [[]]


@pytest.fixture(params=COMPILERS)
def compiler(request):
    command = COMPILERS[request.param]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} here")
    return command


def compiled(command, source, folder, *options):
    """The program made of this source."""
    (folder / "program.c").write_text(source)
    arguments = [*command, *STRICT, *options, "-I.", "program.c", "-o", "program"]
    done = subprocess.run([*arguments, "-lm"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "program"


MAIN = '#include "model.h"\nint main(void) { return model_self_test(); }\n'


def self_test(command, folder, *options):
    program = compiled(command, "#define MODEL_SELF_TEST\n" + MAIN, folder, *options)
    return subprocess.run([program]).returncode


# Reads rows of model_real from stdin, writes outputs.
FILTER = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    model_real x[MODEL_INPUTS], a[MODEL_OUTPUTS];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        model_predict(x, a);
        fwrite(a, sizeof a, 1, stdout);
    }
    return 0;
}
"""


def predicted(folder, X, n_out, *options):
    if C_COMPILER is None:
        pytest.skip("no C compiler here")
    program = compiled(COMPILERS[C_COMPILER], FILTER, folder, "-O2", *options)
    out = subprocess.run([program], input=X.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(out, X.dtype).reshape(len(X), n_out)


def same_bits(a, b):
    bits = f"u{a.itemsize}"
    different = a.view(bits) != b.view(bits)
    assert not different.any(), (a[different][:5], b[different][:5])


def a_network(**options):
    arguments = {"activation": ["tanh", "relu"], "output": "softmax", "rng": 1, "classes": "abc"}
    arguments |= options
    if arguments["classes"] is not None:
        arguments["classes"] = list(arguments["classes"])
    return Network([4, 20, 6, 3], **arguments)


@pytest.mark.parametrize("options", [["-O0"], ["-O3"], ["-O2", "-ffp-contract=on"]])
@pytest.mark.parametrize("target", TARGETS)
def test_the_self_test_finds_the_same_bits(tmp_path, compiler, target, options, dtype):
    a_network(dtype=dtype, input_scale=0.5, input_shift=0.1).export_c(tmp_path / "model.h")
    assert self_test(compiler, tmp_path, *options, *target) == 0


def test_without_fma_to_a_millionth(tmp_path, compiler, dtype):
    # Gains of 3 make rounding visible: the bits differ, and the self-test says so.
    net = Network([30, 50, 3], output="sigmoid", dtype=dtype, rng=0)
    net.export_c(tmp_path / "model.h", samples=np.random.default_rng(0).normal(size=(50, 30)))
    for target in TARGETS:
        assert self_test(compiler, tmp_path, "-O2", "-DMODEL_NO_FMA", *target) == 1


def test_the_self_test_finds_a_wrong_weight(tmp_path, compiler):
    net = a_network()
    net.export_c(tmp_path / "model.h")
    right = (tmp_path / "model.h").read_text()
    bias = str(net.biases[2][0]) + "f"
    assert f"b[3] = {{{bias}," in right
    (tmp_path / "model.h").write_text(right.replace(f"b[3] = {{{bias},", "b[3] = {0.01f,"))
    assert self_test(compiler, tmp_path) == 2


def test_included_and_not_used_and_twice(tmp_path, compiler):
    a_network().export_c(tmp_path / "model.h")
    a_network(dtype="float64", output="sine", activation="gelu").export_c(tmp_path / "other.h")
    source = (
        '#include "model.h"\n#include "other.h"\n#include "model.h"\nint main(void) { return 0; }\n'
    )
    for options in ([], ["-O2", "-DMODEL_SELF_TEST"]):
        compiled(compiler, source, tmp_path, *options)


@pytest.mark.parametrize("name", [*BUILT_IN, "leaky_relu(0.2)", "elu(0.3)"])
def test_every_activation_everywhere(tmp_path, table, name, dtype):
    """Outputs of one layer for z of every size, zeros of both signs and the edges of exp."""
    net = Network([1, 2], output=name, cost="quadratic", dtype=dtype, rng=0)
    net.set_weights(0, w=[[1.0], [1.0]], b=[0.0, 0.25])
    rng = np.random.default_rng(0)
    X = rng.normal(size=20_000) * 10.0 ** rng.integers(-45, 3, 20_000)
    ends = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 20.0, -20.0, 87.0, -87.0, -87.34, -88.1, 88.8, -103.0]
    ends += [-708.0, -708.4, -709.0, 709.9, -745.0, 13.2, -13.2, -38.0, -40.0, 1e5, 3e38, -3e38]
    # Where e^z, its rounding error, and a sigmoid with them leave the normal numbers of float32:
    # every number from -88 to -70 for the sigmoid.
    low, high = np.array([70, 88], np.float32).view(np.uint32).tolist()
    step = 1 if name == "sigmoid" and dtype == "float32" else 997
    edge = -np.arange(low, high + 1, step, np.uint32).view(np.float32).astype(np.float64)
    X = np.concatenate([X, rng.uniform(-110, 110, 20_000), ends, edge]).astype(dtype)[:, None]
    net.export_c(tmp_path / "model.h")
    with np.errstate(all="ignore"):
        expected = net.predict(X)
    # GCC's default outside -std=c99: the header must not let it contract what was not fused.
    contract = ["-ffp-contract=fast"] if C_COMPILER == "gcc" else []
    found = predicted(tmp_path, X, 2, *TARGETS[-1], *contract)
    number = ~np.isnan(expected)
    assert (np.isnan(found) == ~number).all()
    same_bits(found[number], expected[number])


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 40])
def test_widths_and_scales(tmp_path, n, dtype):
    rng = np.random.default_rng(n)
    net = Network(
        [n, 3, 2 * n, n + 1], activation=["softmax", "silu"], output="softmax", dtype=dtype, rng=0,
        input_scale=rng.uniform(0, 2, n), input_shift=rng.normal(size=n),
    )  # fmt: skip
    X = rng.normal(size=(200, n)).astype(dtype)
    net.export_c(tmp_path / "model.h")
    same_bits(predicted(tmp_path, X, n + 1, *TARGETS[-1]), net.predict(X))


def test_a_layer_alone(tmp_path):
    net = Network([3, 1], rng=0)
    X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    net.export_c(tmp_path / "model.h")
    same_bits(predicted(tmp_path, X, 1), net.predict(X))


LABELS = ["plain", 'a "quoted" one', "back\\slash%s", "what??/", "h\u00e9, \u6c34\n", "*/ 1"]


def test_labels(tmp_path, compiler):
    net = Network([2, 6], output="softmax", classes=LABELS, rng=0)
    net.export_c(tmp_path / "model.h")
    source = (
        '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
        "    const model_real x[2] = {1.5f, -0.25f};\n"
        '    for (int i = 0; i < 6; i++) printf("%s|", model_label(i));\n'
        '    printf("%s", model_label(model_classify(x)));\n    return 0;\n}\n'
    )
    out = subprocess.run([compiled(compiler, source, tmp_path)], capture_output=True, check=True)
    expected = [*sorted(LABELS), *net.classify([[1.5, -0.25]])]
    if list(net.classes) == LABELS:
        expected = [*LABELS, *net.classify([[1.5, -0.25]])]
    assert out.stdout.decode().split("|") == expected


@pytest.mark.parametrize(("cost", "bias"), [("quadratic", 0.5), ("hinge", 0.0)])
def test_one_output_has_a_threshold(tmp_path, cost, bias):
    net = Network([1, 1], output="identity", cost=cost, rng=0, classes=[0, 1])
    net.set_weights(0, w=[[1.0]], b=[bias])
    net.export_c(tmp_path / "model.h")
    source = (
        '#include "model.h"\nint main(void) {\n'
        "    const model_real below = -0.001f, at = 0;\n"
        "    return 2 * model_classify(&below) + model_classify(&at);\n}\n"
    )
    if C_COMPILER is None:
        pytest.skip("no C compiler here")
    program = compiled(COMPILERS[C_COMPILER], source, tmp_path)
    assert subprocess.run([program]).returncode == 1
    assert net.classify([[-0.001], [0.0]]).tolist() == [0, 1]


def test_samples_of_ones_own_and_names(tmp_path):
    net = a_network(classes=None)
    net.export_c(tmp_path / "it's 4.h", samples=[[1, 2, 3, 4]], name="Fourth")
    text = (tmp_path / "it's 4.h").read_text()
    assert "x[1][4] = {\n        {1.0f, 2.0f, 3.0f, 4.0f}}" in text
    assert "Fourth_predict(" in text and "FOURTH_SELF_TEST" in text
    assert "_label(" not in text
    net.export_c(tmp_path / "a-b.h")
    assert "a_b_predict(" in (tmp_path / "a-b.h").read_text()


def test_what_is_not_exported(tmp_path):
    net = a_network()
    path = tmp_path / "model.h"
    with pytest.raises(ValueError, match=r"path = .*4th\.h', expected a C identifier.*give name="):
        net.export_c(tmp_path / "4th.h")
    with pytest.raises(ValueError, match="name = 'a b', expected a C identifier"):
        net.export_c(path, name="a b")
    with pytest.raises(TypeError, match="name = 3"):
        net.export_c(path, name=3)
    with pytest.raises(ValueError, match="samples"):
        net.export_c(path, samples=[[1.0]])
    wide = Network([1, 1], output="identity", rng=0)
    wide.set_weights(0, w=[[3e38]], b=[0.0])
    with pytest.raises(ValueError, match=r"sample row 1 is not finite.*samples="):
        wide.export_c(path, samples=[[1.0], [5.0]])
    square = activations.register("c_square", lambda z: z * z, lambda z, a: 2 * z)
    try:
        own = Network([2, 3, 1], activation=square, rng=0)
        with pytest.raises(ValueError, match=r"layer 1, 'c_square', is a function of your own"):
            own.export_c(path)
    finally:
        del ACTIVATIONS["c_square"]
    assert not path.exists()
