"""The semantic types of the UMLS, and what MedMentions ST21pv takes of them."""

import re
from collections.abc import Iterable, Mapping

# What MedMentions ST21pv is made of: concepts of these types, or of narrower ones, that
# these sources name. Its annotations say the wide type, MRSTY the narrow one.
_TYPES = """
T005 T007 T017 T022 T031 T033 T037 T038 T058 T062 T074 T082 T091 T092 T097 T098 T103 T168 T170
T201 T204
"""
_SOURCES = """
CPT FMA GO HGNC HPO ICD10 ICD10CM ICD9CM MDR MSH MTH NCBI NCI NDDF NDFRT OMIM RXNORM SNOMEDCT_US
"""
ST21PV_TYPES = frozenset(_TYPES.split())
ST21PV_SOURCES = frozenset(_SOURCES.split())

_NETWORK = """
T071 A T072 A1 T001 A1.1 T194 A1.1.1 T007 A1.1.2 T204 A1.1.3 T008 A1.1.3.1 T010 A1.1.3.1.1
T011 A1.1.3.1.1.1 T012 A1.1.3.1.1.2 T013 A1.1.3.1.1.3 T015 A1.1.3.1.1.4 T016 A1.1.3.1.1.4.1
T014 A1.1.3.1.1.5 T004 A1.1.3.2 T002 A1.1.3.3 T005 A1.1.4 T017 A1.2 T018 A1.2.1 T190 A1.2.2
T019 A1.2.2.1 T020 A1.2.2.2 T021 A1.2.3 T023 A1.2.3.1 T024 A1.2.3.2 T025 A1.2.3.3 T026 A1.2.3.4
T028 A1.2.3.5 T073 A1.3 T074 A1.3.1 T203 A1.3.1.1 T075 A1.3.2 T200 A1.3.3 T167 A1.4 T103 A1.4.1
T120 A1.4.1.1 T121 A1.4.1.1.1 T195 A1.4.1.1.1.1 T122 A1.4.1.1.2 T123 A1.4.1.1.3 T125 A1.4.1.1.3.2
T126 A1.4.1.1.3.3 T127 A1.4.1.1.3.4 T129 A1.4.1.1.3.5 T192 A1.4.1.1.3.6 T130 A1.4.1.1.4
T131 A1.4.1.1.5 T104 A1.4.1.2 T109 A1.4.1.2.1 T114 A1.4.1.2.1.5 T116 A1.4.1.2.1.7 T197 A1.4.1.2.2
T196 A1.4.1.2.3 T031 A1.4.2 T168 A1.4.3 T077 A2 T078 A2.1 T079 A2.1.1 T080 A2.1.2 T081 A2.1.3
T169 A2.1.4 T022 A2.1.4.1 T082 A2.1.5 T030 A2.1.5.1 T029 A2.1.5.2 T085 A2.1.5.3 T086 A2.1.5.3.1
T087 A2.1.5.3.2 T088 A2.1.5.3.3 T083 A2.1.5.4 T033 A2.2 T034 A2.2.1 T184 A2.2.2 T032 A2.3
T201 A2.3.1 T170 A2.4 T185 A2.4.1 T089 A2.4.2 T171 A2.5 T090 A2.6 T091 A2.6.1 T092 A2.7
T093 A2.7.1 T094 A2.7.2 T095 A2.7.3 T102 A2.8 T096 A2.9 T097 A2.9.1 T098 A2.9.2 T099 A2.9.3
T100 A2.9.4 T101 A2.9.5 T051 B T052 B1 T053 B1.1 T054 B1.1.1 T055 B1.1.2 T056 B1.2 T057 B1.3
T058 B1.3.1 T059 B1.3.1.1 T060 B1.3.1.2 T061 B1.3.1.3 T062 B1.3.2 T063 B1.3.2.1 T064 B1.3.3
T065 B1.3.4 T066 B1.4 T067 B2 T068 B2.1 T069 B2.1.1 T070 B2.2 T038 B2.2.1 T039 B2.2.1.1
T040 B2.2.1.1.1 T041 B2.2.1.1.1.1 T042 B2.2.1.1.2 T043 B2.2.1.1.3 T044 B2.2.1.1.4
T045 B2.2.1.1.4.1 T046 B2.2.1.2 T047 B2.2.1.2.1 T048 B2.2.1.2.1.1 T191 B2.2.1.2.1.2
T049 B2.2.1.2.2 T050 B2.2.1.2.3 T037 B2.3
"""
# The semantic network: the tree number (STN) of each type (TUI).
SEMANTIC_NETWORK: dict[str, str] = dict(re.findall(r"(T\d+) (\S+)", _NETWORK))


def narrower_types(
    types: Iterable[str], network: Mapping[str, str] = SEMANTIC_NETWORK
) -> frozenset[str]:
    """Add to semantic types all that are below them in the network.

    types (Iterable[str]): Semantic types (TUI), such as `T038`.
    network (Mapping[str, str]): The tree number of each type, such as `B2.2.1`, which
        begins those of the narrower types, such as `B2.2.1.2`.
    RETURNS (frozenset[str]): The types and their descendants.
    """
    types = frozenset(types)
    roots = [network[tui] for tui in types if network.get(tui)]
    # Below the roots A and B no dot follows: A1, B1.
    stems = tuple(root if len(root) == 1 else f"{root}." for root in roots)
    return types.union(tui for tui, number in network.items() if number.startswith(stems))
