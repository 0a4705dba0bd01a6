"""The look of the page: plain and legible, on a phone and on a desktop, light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

# The semi-bold font file that gradio ships has only Cyrillic letters: headings would fall back to another font.
_SANS = gr.themes.utils.fonts.LocalFont("Source Sans Pro", weights=(400, 700))

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="sm",
    font=[_SANS, "system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_label_text_weight="700",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
    block_title_text_weight="700",
    color_accent="*primary_700",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    checkbox_background_color_selected="*primary_700",
    checkbox_background_color_selected_dark="*primary_700",
    checkbox_border_color_selected="*primary_700",
    checkbox_border_color_selected_dark="*primary_700",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_300",
    link_text_color_visited_dark="*primary_300",
)

CSS = Path(__file__).with_name("theme.css").read_text(encoding="utf-8")

# An upload may be no image, or one that browsers cannot show, such as TIFF. Hides the browser's broken-image icon.
_HIDE_BROKEN_IMAGES = """
for (const type of ["load", "error"])
  document.addEventListener(type, ({ target }) => {
    if (target instanceof HTMLImageElement) target.style.visibility = type === "load" ? "" : "hidden";
  }, true);
"""

HEAD = (
    '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
    f"<script>{_HIDE_BROKEN_IMAGES}</script>"
)
