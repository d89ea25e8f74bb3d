"""The notice for participants: what the settings of a session mean for the person before the camera."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Literal

from sfam.engine.model import ModelArtifact
from sfam.sinks.bus_address import PUBLISH_NOTHING, is_private
from sfam.sinks.session_info import NOT_A_LIE_DETECTOR, UNSUITABLE_USES

from .config import Config
from .session_description import KINDS_OF_TIER, payload_kinds

Language = Literal["en", "de"]


@dataclass(frozen=True, slots=True)
class _Words:
    """Sentences of one language."""

    results: str
    landmarks: str
    flow: str
    blurred: str
    full: str
    no_pictures: str
    recording: str
    clips: str
    tier: str
    here: str
    network: str
    encrypted: str
    nowhere: str
    overlay: str
    page: str
    motion: str
    lsl: str
    days: str
    no_limit: str
    not_given: str
    consent: str
    unsuitable: tuple[str, ...]


_EN = _Words(
    results="Figures: for every picture where the face is, how the head moved, a score, and the marked moments.",
    landmarks="The positions of 68 points of your face in every picture.",
    flow="Motion fields: how the skin moved, without what it looks like.",
    blurred="Pictures are passed on to other programs only as a coarse mosaic in which nobody can be recognised.",
    full="Pictures of your face and the depth image of the camera may be stored and passed on.",
    no_pictures="No picture of your face is stored.",
    recording="The whole session is stored as color and depth video.",
    clips="Color and depth video is stored around each marked moment.",
    tier="The privacy tier of this session is",
    here="Results can be read by programs on this computer only.",
    network="Results are sent to other computers in the network, unencrypted.",
    encrypted="Results are sent, encrypted, to computers that have a key for them.",
    nowhere="Results are not passed on to other programs while the session runs.",
    overlay="The operator sees the live picture on a screen; it is not stored for that.",
    page="That screen can also be opened from other computers in the network by whoever has its address.",
    motion="While it is used, programs on this computer, under any account, can also read the motion of the face.",
    lsl="Scores and marked moments are offered, unencrypted, to programs in the local network (Lab Streaming Layer).",
    days="The data is to be erased {days} days after the session.",
    no_limit="No date was set. Ask the contact below how long the data is kept.",
    not_given="(to be filled in)",
    consent="Note on consent: {note}",
    unsuitable=UNSUITABLE_USES,
)
_DE = _Words(
    results="Zahlen: zu jedem Bild die Lage des Gesichts, die Kopfbewegung, ein Messwert; die markierten Zeitpunkte.",
    landmarks="Die Lage von 68 Punkten Ihres Gesichts in jedem Bild.",
    flow="Bewegungsfelder: wie sich die Haut bewegt hat, ohne ihr Aussehen.",
    blurred="Bilder werden an andere Programme nur als grobes Mosaik weitergegeben, in dem niemand erkennbar ist.",
    full="Bilder Ihres Gesichts und das Tiefenbild der Kamera dürfen gespeichert und weitergegeben werden.",
    no_pictures="Es wird kein Bild Ihres Gesichts gespeichert.",
    recording="Die ganze Sitzung wird als Farb- und Tiefenvideo gespeichert.",
    clips="Um jeden markierten Zeitpunkt wird Farb- und Tiefenvideo gespeichert.",
    tier="Die Datenschutzstufe dieser Sitzung ist",
    here="Ergebnisse können nur von Programmen auf diesem Rechner gelesen werden.",
    network="Ergebnisse werden unverschlüsselt an andere Rechner im Netz gesendet.",
    encrypted="Ergebnisse werden verschlüsselt an Rechner gesendet, die einen Schlüssel dafür haben.",
    nowhere="Ergebnisse werden während der Sitzung nicht an andere Programme weitergegeben.",
    overlay="Die Versuchsleitung sieht das laufende Bild auf einem Bildschirm; dafür wird es nicht gespeichert.",
    page="Diese Anzeige lässt sich auch von anderen Rechnern im Netz öffnen, wenn man ihre Adresse hat.",
    motion="Solange sie benutzt wird, können Programme auf diesem Rechner, unter jedem Konto, auch die Bewegung des "
    "Gesichts lesen.",
    lsl="Messwerte und markierte Zeitpunkte werden im lokalen Netz unverschlüsselt angeboten (Lab Streaming Layer).",
    days="Die Daten sind {days} Tage nach der Sitzung zu löschen.",
    no_limit="Es wurde keine Frist gesetzt. Die unten genannte Stelle sagt Ihnen, wie lange die Daten bleiben.",
    not_given="(bitte ausfüllen)",
    consent="Vermerk zur Einwilligung: {note}",
    unsuitable=(
        "die Entscheidung, ob jemand lügt",
        "das Ableiten von Emotionen am Arbeitsplatz oder in der Bildung (EU-KI-Verordnung, Artikel 5 Absatz 1 "
        "Buchstabe f)",
        "irgendeine Entscheidung über eine Person ohne deren informierte Einwilligung",
    ),
)
_WORDS: dict[Language, _Words] = {"en": _EN, "de": _DE}


def participant_notice(config: Config, model: ModelArtifact, language: Language) -> str:
    """The notice as Markdown, filled from the settings that a session would run with."""
    words, sinks = _WORDS[language], config.sinks
    days = sinks.retention_days
    template = files("sfam.sinks").joinpath("page").joinpath(f"notice.{language}.md").read_text(encoding="utf-8")
    text = Template(template).substitute(
        recorded=_listed([*_recorded(config, words), f"{words.tier} `{sinks.privacy}`."]),
        seen=_listed(_seen(config, words)),
        subject=config.app.subject,
        retention=words.no_limit if days is None else words.days.format(days=days),
        not_a_lie_detector=NOT_A_LIE_DETECTOR,
        unsuitable="; ".join(words.unsuitable),
        model=f"{model.name} {model.version}",
        limits="; ".join(model.limits) or "-",
        contact=sinks.contact or words.not_given,
        consent=words.consent.format(note=sinks.consent) if sinks.consent else "",
    )
    return text.rstrip() + "\n"


def _recorded(config: Config, words: _Words) -> list[str]:
    tier, record = config.sinks.privacy, config.capture.record
    said = [words.results]
    if config.sinks.landmarks:
        said.append(words.landmarks)
    if tier != "results":
        said.append(words.flow)
    if tier in ("blurred", "full"):
        said.append(words.blurred if tier == "blurred" else words.full)
    if tier == "full" and record == "all":
        said.append(words.recording)
    elif tier == "full" and (record == "events" or config.sinks.clips):
        said.append(words.clips)
    else:
        said.append(words.no_pictures)
    return said


def _seen(config: Config, words: _Words) -> list[str]:
    sinks = config.sinks
    if sinks.publish == PUBLISH_NOTHING:
        said = [words.nowhere]
    elif is_private(sinks.publish):
        said = [words.here]
    else:
        said = [words.encrypted if sinks.keys else words.network]
    if sinks.lsl:
        said.append(words.lsl)
    if sinks.overlay != "none":
        said.append(words.overlay)
    if sinks.overlay == "web" and not is_private(f"tcp://{sinks.web_address}"):
        said.append(words.page)
    if "flow" in set(payload_kinds(config)) - set(KINDS_OF_TIER[sinks.privacy]) and not sinks.keys:
        said.append(words.motion)
    return said


def _listed(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
