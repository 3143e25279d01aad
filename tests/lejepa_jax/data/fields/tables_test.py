import numpy as np
import pytest

from lejepa_jax.data.fields import load_fields


def load(path):
    return load_fields(str(path), num_axes=1)


def all_of(source):
    return source.gather(np.arange(len(source)))


def test_a_row_a_series_with_an_empty_cell_and_its_split(tmp_path):
    (tmp_path / "a.csv").write_text(
        "label,split,t0,t1,t2\nwalk,train,1,2,3\nrun,train,4,,6\nrun,test,7,8,9\n"
    )
    splits = load(tmp_path / "a.csv")
    values = all_of(splits.train)["values"][:, :, 0]
    np.testing.assert_array_equal(values, np.array([[1, 2, 3], [4, np.nan, 6]], np.float32))
    assert splits.class_names == ("run", "walk")
    assert splits.train.labels.tolist() == [1, 0]
    assert all_of(splits.test)["values"][0, :, 0].tolist() == [7, 8, 9]


def test_a_row_a_moment_with_an_id_and_a_channel_a_column(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,time,x,y,label\na,0,1,2,5\na,1,3,4,5\nb,0,5,6,7\nc,0,7,8,5\nc,1,9,10,5\n"
    )
    splits = load(tmp_path / "a.csv")
    order = np.concatenate([splits.train.records, splits.test.records])
    batches = [all_of(source) for source in (splits.train, splits.test)]
    values = np.concatenate([batch["values"] for batch in batches])[np.argsort(order)]
    extents = np.concatenate([batch["extent"] for batch in batches])[np.argsort(order)]
    assert values[0].tolist() == [[1, 2], [3, 4]]
    assert values[1].tolist() == [[5, 6], [0, 0]]
    assert extents[:, 0].tolist() == [2, 1, 2]
    assert splits.class_names == ("5", "7")
    assert splits.info["channels"] == "x, y"


def test_parquet_is_what_pyarrow_reads_in_its_own_type(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "values": pa.array([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], pa.list_(pa.float32())),
            "label": [0, 1, 0],
            "is_test": [False, False, True],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    splits = load(tmp_path / "a.parquet")
    batch = all_of(splits.train)
    assert batch["extent"][:, 0].tolist() == [2, 1]
    read = pq.read_table(tmp_path / "a.parquet")["values"].to_pylist()
    assert batch["values"][0, :2, 0].tolist() == read[0]
    wide = pa.table({"t0": pa.array([1, 2, 3], pa.int16()), "t1": pa.array([4, 5, 6], pa.int16())})
    pq.write_table(wide, tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet").train.layout.dtype == np.int16


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "it has no rows"),
        ("a,b\n1\n", "line 2 has another number of cells"),
        ("a,b\n1,x\n", "column 'b' must hold numbers, got 'x'"),
        ("id,x\na,1\nb,2\na,3\n", "the rows of an id must lie together"),
        ("split,x\nmaybe,1\n", "split must be train, test or validation, got 'maybe'"),
        ("a,a\n1,2\n", "columns must have different names"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(tmp_path, text, error):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=error):
        load(tmp_path / "a.csv")


def test_a_truncated_parquet_is_one_line(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="is not a table of series"):
        load(tmp_path / "a.parquet")
