"""Files in, arrays out: sounds and pictures of any media file, and small files to write."""

from soundnet_kd.media.audio import read_audio, stream_audio
from soundnet_kd.media.clock import Extent, duration_seconds, measure_extent
from soundnet_kd.media.container import translate_decoding_errors
from soundnet_kd.media.decode_pool import DEADLINE_MINUTES, DECODED_FOLDER, decode_in_processes
from soundnet_kd.media.finding import FoundMedia, find_media, is_known_other, search_folder
from soundnet_kd.media.full_scale import as_float
from soundnet_kd.media.raw_audio import RawAudioDecoder, RawAudioFile
from soundnet_kd.media.samples import Channel
from soundnet_kd.media.video import Frame, Sampling, Video, read_frames
from soundnet_kd.media.writing import write_audio, write_video

__all__ = [
    "DEADLINE_MINUTES",
    "DECODED_FOLDER",
    "Channel",
    "Extent",
    "FoundMedia",
    "Frame",
    "RawAudioDecoder",
    "RawAudioFile",
    "Sampling",
    "Video",
    "as_float",
    "decode_in_processes",
    "duration_seconds",
    "find_media",
    "is_known_other",
    "measure_extent",
    "read_audio",
    "read_frames",
    "search_folder",
    "stream_audio",
    "translate_decoding_errors",
    "write_audio",
    "write_video",
]
