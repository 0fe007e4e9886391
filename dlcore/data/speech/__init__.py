"""Speech: recorded prompts, noise, and files of waveforms."""
