"""Signal processing in front of networks, in batches on the device where they run."""

from soundnet_kd.models.front_ends.cepstra import MFCC
from soundnet_kd.models.front_ends.chain import FRONT_ENDS, FrontEndChain
from soundnet_kd.models.front_ends.front_end import FrontEnd
from soundnet_kd.models.front_ends.resampling import FourierResampling
from soundnet_kd.models.front_ends.spectra import LogMel, LogSpectrogram, MagnitudeSpectrum, MelSpectrogram
from soundnet_kd.models.front_ends.standardisation import Standardisation

__all__ = [
    "FRONT_ENDS",
    "MFCC",
    "FourierResampling",
    "FrontEnd",
    "FrontEndChain",
    "LogMel",
    "LogSpectrogram",
    "MagnitudeSpectrum",
    "MelSpectrogram",
    "Standardisation",
]
