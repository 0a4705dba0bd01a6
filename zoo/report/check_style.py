"""How the dataset doctor's page looks, in light and dark."""

STYLE = """
:root {
  --paper: #f6f7f9; --card: #fff; --ink: #16181d; --muted: #5b6472; --line: #dfe3e8; --well: #eef0f3;
  --problem: #b3261e; --warning: #8a5300; --note: #2457a6; --fine: #1d6f42;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --card: #1b1e23; --ink: #e8eaed; --muted: #9aa3af; --line: #2d323a; --well: #24282e;
    --problem: #ff8a80; --warning: #f5c26b; --note: #90b8f8; --fine: #81d8a4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
header, main { max-width: 1240px; margin: 0 auto; }
h1 { margin: 0; font-size: 28px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 18px; display: flex; gap: 10px; align-items: center; flex-wrap: wrap; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.quiet { color: var(--muted); }
.fine { color: var(--fine); font-weight: 600; }
.level {
  display: inline-block; padding: 1px 10px; border: 1px solid currentColor; border-radius: 999px;
  font-size: 13px; font-weight: 600; white-space: nowrap;
}
.problem { color: var(--problem); } .warning { color: var(--warning); } .note { color: var(--note); }
table { margin: 16px 0 8px; border-collapse: collapse; max-width: 100%; }
th, td { padding: 4px 20px 4px 0; border-bottom: 1px solid var(--line); text-align: left; overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 500; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
section {
  margin: 20px 0; padding: 20px; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
.pairs, .photos { display: grid; gap: 16px; margin-top: 16px; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); }
.photos { grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); }
.pair {
  display: grid; grid-template-columns: 1fr 1fr; gap: 2px 12px; padding: 12px;
  background: var(--well); border-radius: 10px;
}
.pair > p { grid-column: 1 / -1; font-size: 13px; }
figure { margin: 0; min-width: 0; }
.picture { aspect-ratio: 1; display: flex; align-items: center; justify-content: center; }
.photos .picture { background: var(--well); border-radius: 8px; overflow: hidden; }
img { max-width: 100%; max-height: 100%; border-radius: 6px; }
.none { color: var(--muted); font-size: 13px; }
figcaption { margin-top: 6px; font-size: 14px; overflow-wrap: anywhere; }
figcaption i { color: var(--muted); font-style: normal; }
figcaption small, .why { display: block; font-size: 12px; color: var(--muted); }
.apart { color: var(--problem); }
"""
