import pytest

from zoo.cli.main import main
from zoo.training.finetune import finetune


@pytest.fixture
def run(tmp_path):
    small = {"epochs": 1, "image_size": 32, "weights": "none", "data_options": {"images": 10, "size": 40}}
    return finetune("timm/resnet10t", data="hotdog-cartoon", runs=tmp_path / "runs", **small)


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_the_command_prints_how_to_load_the_folder(run, tmp_path, capsys, options):
    folder = tmp_path / "out"
    with pytest.raises(SystemExit) as exit_:
        main(["convert", str(run.path), "--to", "timm", "--output", str(folder), *options])
    assert exit_.value.code == 0
    loading = f": timm.create_model('local-dir:{folder}', pretrained=True) returns the same logits."
    assert capsys.readouterr().out == f"{folder}{'' if options else loading}\n"
