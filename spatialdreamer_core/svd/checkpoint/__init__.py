"""Stable Video Diffusion as files: identified, loaded and saved, in the layout of sgm or diffusers."""
