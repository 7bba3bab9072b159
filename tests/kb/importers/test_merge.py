"""What several sources say of a concept is united."""

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.importers import merge_entities


def test_merge_entities_unites_what_sources_say():
    first = Entity("C1", "Fever", ["Fever", "Pyrexia"], ["T1"], None)
    second = Entity("C1", "Pyrexia", ["Pyrexia", "Febrile"], ["T2", "T1"], "Hot.")
    third = Entity("C1", "Fever", ["Fever"], [], "Late.")
    merged = merge_entities([first, Entity("C2", "Cough", []), second, third])
    assert merged == [
        ("C1", "Fever", ["Fever", "Pyrexia", "Febrile"], ["T1", "T2"], "Hot."),
        ("C2", "Cough", ["Cough"], [], None),
    ]
