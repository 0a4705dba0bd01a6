from PIL import Image

from zoo.report.search import SearchPoint, write_search

POINT = SearchPoint(
    number=1,
    name="small, 224 px, probe",
    colour="small",
    panel="Probes",
    milliseconds=5.0,
    accuracy=0.9,
    low=0.85,
    high=0.93,
)


def test_a_picture_has_a_panel_for_each_way_of_measuring(tmp_path):
    points = [
        POINT._replace(chosen=True),
        POINT._replace(number=2, colour="large", name="large, 224 px, probe", milliseconds=5.1, partial=True),
        POINT._replace(number=3, name="small, 224 px, fine-tuned", panel="Fine-tuned"),
    ]
    path = write_search(tmp_path / "both.png", points, title="search-1", subtitle="Ring: chosen")
    one = write_search(tmp_path / "one.png", points[:2], title="search-1")
    with Image.open(path) as both, Image.open(one) as alone:
        assert both.size[0] >= 1000
        assert alone.size[1] > 300
    assert path.read_bytes() != one.read_bytes()


def test_a_picture_of_nothing_is_empty_not_an_error(tmp_path):
    assert write_search(tmp_path / "none.png", [], title="search-1").exists()


def test_points_of_the_same_cost_stand_side_by_side(tmp_path):
    points = [POINT._replace(number=number) for number in range(12)]
    same = write_search(tmp_path / "same.png", points, title="x").read_bytes()
    assert same != write_search(tmp_path / "one.png", points[:1], title="x").read_bytes()
