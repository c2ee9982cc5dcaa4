"""Texts within configurations, found and changed in place."""

from guideplug.config.texts import texts_changed, texts_in

NESTED = {
    "guider": "blend([classifier(\"a:f\"), cfg(weight=1:3:0.5)], model='b:g')",
    "models": {"main": {"name": "python", "builder": "/x y/c.py:h"}},
    "sets": ["models.weak.seed=0", "d:i"],
    "seed": 3,
    "deep": "outer('inner(\"e:j\")')",
}


def test_every_text_is_found() -> None:
    assert {"a:f", "b:g", "/x y/c.py:h", "d:i", "e:j"} <= set(texts_in(NESTED))


def test_only_the_texts_asked_for_are_changed() -> None:
    def change(text: str) -> str | None:
        return f"./it's {text[0]}:new" if len(text) == 3 and text[1] == ":" else None

    changed = texts_changed(NESTED, change)
    assert set(texts_in(changed)) >= {f"./it's {name}:new" for name in "abde"}
    assert changed["models"] == NESTED["models"]
    assert changed["guider"].startswith('blend([classifier("./it\'s a:new"), cfg(weight=1:3:0.5)]')
    assert texts_changed(NESTED, lambda text: None) == NESTED
