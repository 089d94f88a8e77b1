"""Videos are read frame by frame, upright, and single frames are found exactly."""

import numpy as np
import pytest
from videos import make_video, moving_square, turn_by_90_degrees

from labelkit.errors import InputError
from labelkit.files.video import frame_count, read_frames, small_frames


@pytest.mark.parametrize("name", ["even.mp4", "even.mkv", "even.avi"])
def test_each_frame_has_its_number_and_its_small_picture(tmp_path, name):
    video = make_video(tmp_path / name, range(0, 800, 40))
    found = list(small_frames(video))
    assert [frame.index for frame in found] == list(range(20))
    assert found[0].grey.shape == (24, 32)
    assert len({frame.pts for frame in found}) == 20


def test_time_stamps_of_a_variable_frame_rate_are_kept(tmp_path):
    times = [0, 40, 45, 300, 1000, 1001]
    video = make_video(tmp_path / "variable.mp4", times)
    assert [frame.seconds for frame in small_frames(video)] == pytest.approx(
        [time / 1000 for time in times], abs=1e-9
    )


def test_seconds_count_from_the_first_frame(tmp_path):
    video = make_video(tmp_path / "late.mkv", [500, 540])
    assert [frame.seconds for frame in small_frames(video)] == pytest.approx([0, 0.04])


@pytest.mark.parametrize("options", [{"g": "8"}, {"g": "100"}, {"g": "12", "bf": "2"}])
def test_any_frame_is_found_again_exactly(tmp_path, options):
    video = make_video(tmp_path / "v.mp4", range(0, 1600, 40), options=options)
    found = list(small_frames(video))
    wanted = [found[at] for at in (0, 1, 7, 8, 23, 39)]
    for frame, picture in zip(wanted, read_frames(video, wanted), strict=True):
        assert picture.size == (64, 48)
        bright = np.asarray(picture.convert("L"), int) > 130
        left = 2 * frame.index % 56
        # The square's centre; compression blurs its rim.
        assert np.argwhere(bright).mean(axis=0) == pytest.approx((23.5, left + 3.5), abs=0.6)


def test_a_frame_whose_picture_is_not_at_its_time_stamp_is_refused(tmp_path):
    video = make_video(tmp_path / "v.mp4", range(0, 400, 40))
    other = make_video(tmp_path / "w.mp4", range(0, 400, 40), lambda n: 255 - moving_square(n))
    wanted = list(small_frames(video))[3:4]
    with pytest.raises(InputError, match=r"w\.mp4"):
        list(read_frames(other, wanted))


def test_pictures_are_turned_as_the_header_says(tmp_path):
    def left_half_bright(_):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, :32] = 230
        return picture

    video = make_video(tmp_path / "telephone.mp4", [0, 40], left_half_bright)
    turn_by_90_degrees(video)
    (picture,) = read_frames(video, list(small_frames(video))[:1])
    assert picture.size == (48, 64)
    grey = np.asarray(picture.convert("L"), int)
    # Turned clockwise, the left half is the upper one.
    assert grey[:28].min() > 200 > 50 > grey[36:].max()


def test_the_number_of_frames_is_known_from_the_header(tmp_path):
    assert frame_count(make_video(tmp_path / "v.mp4", range(0, 800, 40))) == 20


def test_a_file_that_is_not_a_video_is_named(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    for read in (frame_count, lambda path: list(small_frames(path))):
        with pytest.raises(InputError, match=r"notes\.mp4"):
            read(path)
    with pytest.raises(InputError, match=r"missing\.mp4"):
        frame_count(tmp_path / "missing.mp4")


def test_a_video_without_pictures_is_named(tmp_path):
    import av

    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"sound\.wav"):
        frame_count(path)
