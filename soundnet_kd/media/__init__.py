"""Files in, arrays out: sounds and pictures of any media file, and small files to write."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.media.audio import read_audio as read_audio
    from soundnet_kd.media.audio import stream_audio as stream_audio
    from soundnet_kd.media.clock import Extent as Extent
    from soundnet_kd.media.clock import duration_seconds as duration_seconds
    from soundnet_kd.media.clock import measure_extent as measure_extent
    from soundnet_kd.media.clock import stated_seconds as stated_seconds
    from soundnet_kd.media.container import translate_decoding_errors as translate_decoding_errors
    from soundnet_kd.media.decode_pool import DEADLINE_MINUTES as DEADLINE_MINUTES
    from soundnet_kd.media.decode_pool import DECODED_FOLDER as DECODED_FOLDER
    from soundnet_kd.media.decode_pool import decode_in_processes as decode_in_processes
    from soundnet_kd.media.finding import FoundMedia as FoundMedia
    from soundnet_kd.media.finding import find_media as find_media
    from soundnet_kd.media.finding import is_known_other as is_known_other
    from soundnet_kd.media.finding import search_folder as search_folder
    from soundnet_kd.media.full_scale import as_float as as_float
    from soundnet_kd.media.raw_audio import RawAudioDecoder as RawAudioDecoder
    from soundnet_kd.media.raw_audio import RawAudioFile as RawAudioFile
    from soundnet_kd.media.samples import Channel as Channel
    from soundnet_kd.media.stored import MediaSource as MediaSource
    from soundnet_kd.media.stored import StoredMedia as StoredMedia
    from soundnet_kd.media.stored import address_of as address_of
    from soundnet_kd.media.stored import as_source as as_source
    from soundnet_kd.media.stored import fetched_folder as fetched_folder
    from soundnet_kd.media.stored import local_file as local_file
    from soundnet_kd.media.stored import local_path as local_path
    from soundnet_kd.media.stored import located as located
    from soundnet_kd.media.stored import place_name as place_name
    from soundnet_kd.media.stored import read_bytes as read_bytes
    from soundnet_kd.media.video import Frame as Frame
    from soundnet_kd.media.video import Sampling as Sampling
    from soundnet_kd.media.video import Video as Video
    from soundnet_kd.media.video import read_frames as read_frames
    from soundnet_kd.media.writing import write_audio as write_audio
    from soundnet_kd.media.writing import write_video as write_video

# Each is imported when it is first used: files are found without a decoder.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audio": ["read_audio", "stream_audio"],
        "clock": ["Extent", "duration_seconds", "measure_extent", "stated_seconds"],
        "container": ["translate_decoding_errors"],
        "decode_pool": ["DEADLINE_MINUTES", "DECODED_FOLDER", "decode_in_processes"],
        "finding": ["FoundMedia", "find_media", "is_known_other", "search_folder"],
        "full_scale": ["as_float"],
        "raw_audio": ["RawAudioDecoder", "RawAudioFile"],
        "samples": ["Channel"],
        "stored": [
            "MediaSource",
            "StoredMedia",
            "address_of",
            "as_source",
            "fetched_folder",
            "local_file",
            "local_path",
            "located",
            "place_name",
            "read_bytes",
        ],
        "video": ["Frame", "Sampling", "Video", "read_frames"],
        "writing": ["write_audio", "write_video"],
    },
)
