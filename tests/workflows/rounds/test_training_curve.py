from labelkit.workflows.rounds.training_curve import draw_training


def test_a_curve_is_drawn_with_a_dev_set_and_without(tmp_path):
    curve = [{"step": 50, "loss": 2.0}, {"step": 100, "loss": 0.5, "median_px": 4.2}]
    for number, points in enumerate((curve, curve[:1])):
        path = tmp_path / f"{number}.png"
        draw_training({"curve": points, "kept": "an average over the last steps"}, path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_training_of_an_earlier_version_has_no_curve(tmp_path):
    draw_training({"seconds": 3.0}, tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []
