"""The demo, in seconds: the algebra on a closed-form density, and guidance between two tiny networks."""

from guideplug.cli.demo.picture import draw_picture
from guideplug.cli.demo.story import story
from guideplug.cli.demo.trial import MAIN, WEAK, Demo, Schooling, demonstrate

__all__ = ["MAIN", "WEAK", "Demo", "Schooling", "demonstrate", "draw_picture", "story"]
