"""One utterance of espeak-ng in a process of its own, run as a program by data/espeak.py.

The library keeps state between two utterances that changes the second; the first of a fresh process, with its noise
seeded, is always the same. Only the standard library is imported, so that the process starts quickly.

Arguments: voice, words per minute, pitch (0..100), path of the sound. Text on standard input; the phones on standard
output, one "start-sample name" per line.
"""

import ctypes
import sys
import wave

import espeakng_loader

SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1
RATE, PITCH = 1, 3  # parameters
PHONEME = 7  # type of event
Samples = ctypes.POINTER(ctypes.c_short)


class Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", Name),
    )


def main(voice: str, words_per_minute: int, pitch: int, path: str) -> None:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    sound, rows = bytearray(), []

    @ctypes.CFUNCTYPE(ctypes.c_int, Samples, ctypes.c_int, ctypes.POINTER(Event))
    def hear(samples, count, events):
        if samples and count:
            sound.extend(ctypes.string_at(samples, 2 * count))
        k = 0
        while events[k].type:
            if events[k].type == PHONEME:
                rows.append(f"{events[k].sample} {events[k].id.string.decode()}")
            k += 1
        return 0

    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), PHONEME_EVENTS)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath is noise, and seeded by the clock
    library.espeak_SetSynthCallback(hear)
    if rate <= 0 or library.espeak_SetVoiceByName(voice.encode()) != 0:
        sys.exit(f"no voice {voice}")
    library.espeak_SetParameter(RATE, words_per_minute, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    text = sys.stdin.buffer.read()
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(sound))
    sys.stdout.write("\n".join(rows))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
