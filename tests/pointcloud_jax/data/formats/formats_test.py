"""Files of one cloud, well formed in every dialect and ill formed in the usual ways."""

import sys

import numpy as np
import pytest

from pointcloud_jax.data.formats import arrays, clouds, las, ply, text

LIMIT = 10**6
POINTS = np.random.default_rng(0).normal(size=(5, 3))
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
COLORS = np.arange(15).reshape(5, 3)


def header(kind, properties, count=5, before=""):
    lines = ["ply", f"format {kind} 1.0", "comment made by hand", *before.splitlines()]
    lines += [f"element vertex {count}", *(f"property {p}" for p in properties)]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines).encode()


PROPERTIES = [
    *[f"double {name}" for name in "xyz"],
    "uchar red",
    *[f"float {name}" for name in ("nx", "ny", "nz")],
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("before", ["", "element camera 2\nproperty short view"])
def test_binary_ply(tmp_path, order, before):
    row = np.dtype(
        [(n, order + "f8") for n in "xyz"]
        + [("red", "u1")]
        + [(n, order + "f4") for n in ("nx", "ny", "nz")]
    )
    table = np.zeros(5, row)
    for i, name in enumerate("xyz"):
        table[name], table["n" + name] = POINTS[:, i], NORMALS[:, i]
    kind = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    extra = b"\0\0\0\0" if before else b""
    file = tmp_path / "a.ply"
    file.write_bytes(header(kind, PROPERTIES, before=before) + extra + table.tobytes() + b"\x03")
    cloud = ply.read_ply(file, LIMIT)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_allclose(cloud.normals, NORMALS, atol=1e-6)
    assert cloud.ignored == ("red",)
    file.write_bytes(header(kind, PROPERTIES, 10**12, before) + extra + table.tobytes())
    with pytest.raises(ValueError, match="it has 5 of the 1000000000000 vertices"):
        ply.read_ply(file, LIMIT)


def test_ply_as_text(tmp_path):
    table = np.concatenate([POINTS, COLORS[:, :1], NORMALS], axis=1)
    rows = "\n".join(" ".join(map(repr, row)) for row in table.tolist())
    file = tmp_path / "a.ply"
    file.write_bytes(header("ascii", PROPERTIES) + rows.encode() + b"\n3 0 1 2\n")
    cloud = ply.read_ply(file, LIMIT)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.normals, NORMALS)
    file.write_bytes(header("ascii", PROPERTIES, 9) + rows.encode())
    with pytest.raises(ValueError, match="it has 5 of the 9 vertices"):
        ply.read_ply(file, LIMIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"solid a\n", "it is no PLY file"),
        (b"ply\nformat ascii 1.0\n", "its header has no end"),
        (b"ply\n" + b"a" * 10**5, "its header has no end"),
        (b"ply\nformat ascii 1.0\nelement face 3\nend_header\n", "it has no vertices, only face"),
        (header("middle_endian", PROPERTIES), "its format is 'middle_endian'"),
        (header("ascii", ["float x", "float y"]), "it has 0 of the 5 vertices"),
        (header("ascii", ["float x", "float y"], 1) + b"1 2\n", "it has no z, only x, y"),
        (header("ascii", ["half x"]), "its header names a type 'half'"),
        (header("ascii", ["list uchar int x"]), "its vertices have lists"),
        (header("ascii", PROPERTIES, 0), "it has no points"),
    ],
)
def test_what_is_no_ply_is_named(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ply.read_ply(tmp_path / "a.ply", LIMIT)


@pytest.mark.parametrize(
    ("first", "mark"),
    [("", " "), ("", ","), ("# made by hand\n\n", ";"), ('x,"Y",z,nx,ny,nz,red\n', ",")],
)
def test_columns_of_text(tmp_path, first, mark):
    table = np.concatenate([POINTS, NORMALS, COLORS[:, :1]], axis=1)
    rows = "\n".join(mark.join(map(repr, row)) for row in table.tolist())
    (tmp_path / "a.txt").write_text(first + rows)
    cloud = text.read_columns(tmp_path / "a.txt", LIMIT)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.normals, NORMALS)
    assert cloud.ignored == (("red",) if "red" in first else ("column 7",))


def test_colors_are_not_taken_for_normals(tmp_path):
    np.savetxt(tmp_path / "a.xyz", np.concatenate([POINTS, COLORS], axis=1))
    cloud = text.read_columns(tmp_path / "a.xyz", LIMIT)
    assert cloud.normals is None
    assert cloud.ignored == ("column 4", "column 5", "column 6")


@pytest.mark.parametrize(
    "content", ["", "1 2\n3 4\n", "a,b\n1,2\n", "x,y,z\n1,2\n", "1 2 3\n4 5\n"]
)
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(ValueError, match=r"column|it has|it names|it is empty"):
        text.read_columns(tmp_path / "a.txt", LIMIT)


def test_vertices_of_obj(tmp_path):
    lines = ["# a mesh", "o thing", *(f"v {x!r} {y!r} {z!r} 1.0" for x, y, z in POINTS.tolist())]
    (tmp_path / "a.obj").write_text("\n".join([*lines, "vn 0 0 1", "f 1//1 2//1 3//1"]))
    cloud = text.read_obj(tmp_path / "a.obj", LIMIT)
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.ignored == ("faces", "normals of corners")
    (tmp_path / "a.obj").write_text("f 1 2 3\n")
    with pytest.raises(ValueError, match="it has no vertices"):
        text.read_obj(tmp_path / "a.obj", LIMIT)
    (tmp_path / "a.obj").write_text("v 1 2\n")
    with pytest.raises(ValueError, match="a vertex of 2 coordinates"):
        text.read_obj(tmp_path / "a.obj", LIMIT)


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.concatenate([POINTS, NORMALS], axis=1).astype(np.float32))
    cloud = arrays.read_npy(tmp_path / "a.npy", LIMIT)
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-6)
    np.testing.assert_allclose(cloud.normals, NORMALS, atol=1e-6)
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="object"):
        arrays.read_npy(tmp_path / "a.npy", LIMIT)
    np.save(tmp_path / "a.npy", np.zeros(7))
    with pytest.raises(ValueError, match="at least 3 columns"):
        arrays.read_npy(tmp_path / "a.npy", LIMIT)


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        claim = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)}
        np.lib.format.write_array_header_1_0(file, claim)
        file.write(bytes(24))
    with pytest.raises(ValueError, match="mmap length is greater than file size"):
        arrays.read_npy(tmp_path / "a.npy", LIMIT)


def test_las_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(ValueError, match=r"needs the package laspy .* pip install laspy"):
        las.read_las(tmp_path / "a.las", LIMIT)


def test_las_coordinates_are_scaled_in_float64(tmp_path):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=0, version="1.2")
    header.scales, header.offsets = np.full(3, 1e-3), np.array([4e6, 5e5, 0])
    written = laspy.LasData(header)
    far = POINTS + header.offsets
    written.xyz = far
    written.write(tmp_path / "a.las")
    cloud = las.read_las(tmp_path / "a.las", LIMIT)
    np.testing.assert_allclose(cloud.points - far, 0, atol=1e-3)
    assert "intensity" in cloud.ignored
    with pytest.raises(ValueError, match="more than memory_limit leaves"):
        las.read_las(tmp_path / "a.las", 100)


def test_normals_need_all_three_columns():
    columns = {name: POINTS[:, 0] for name in ("x", "y", "z", "nx", "ny")}
    assert clouds.from_columns(columns).normals is None
    assert clouds.from_columns(columns).ignored == ("nx", "ny")
