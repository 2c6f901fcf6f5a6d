"""The style sheet of report pages: readable in light and dark, on paper and on a phone."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d8dee4; --paper: #ffffff; --box: #f5f7f9;
  --good: #1a7f4b; --notice: #8a6100; --bad: #b3261e; --bad-box: #fdecea; --mark: #4c8fd6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebee; --soft: #a0a9b2; --line: #363d45; --paper: #14171a;
  --box: #1f2429; --good: #5cc98c; --notice: #e5b84b; --bad: #ff8a80; --bad-box: #3a1a18; --mark: #2f6ba8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0 .8rem; max-width: 75ch; }
ul { padding-left: 1.2rem; max-width: 85ch; }
.soft, figcaption { color: var(--soft); }
.verdict { border-left: 6px solid var(--good); background: var(--box); padding: .6rem 1rem; margin: 1rem 0; }
.verdict.look { border-color: var(--notice); }
.verdict.failed { border-color: var(--bad); }
.verdict strong { display: block; font-size: 1.1rem; color: var(--good); }
.verdict.look strong { color: var(--notice); }
.verdict.failed strong { color: var(--bad); }
.verdict ul { margin: .3rem 0; }
.warnings { border: 2px solid var(--bad); background: var(--bad-box); padding: .6rem 1rem; margin: 1rem 0; }
.warnings strong { color: var(--bad); font-size: 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .55rem .8rem; background: var(--box); }
.tile span { display: block; font-size: .85rem; color: var(--soft); }
.tile b { font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.views { display: grid; grid-template-columns: repeat(auto-fit, minmax(0, 1fr)); grid-auto-flow: column;
  grid-auto-columns: minmax(0, 1fr); gap: .8rem; margin: .8rem 0; }
.views.one { max-width: 33rem; }
.view { display: grid; gap: .6rem; align-content: start; }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; background: #000; border-radius: 3px; }
.plot img { background: #fff; }
figcaption { font-size: .82rem; margin-top: .2rem; line-height: 1.35; }
.bar { display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: start; font-size: .85rem; margin: .6rem 0; }
.bar > div { flex: 0 1 320px; min-width: 200px; }
.ramp { height: 14px; margin-top: 4px; border-radius: 3px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.ticks { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.ticks i { font-style: normal; }
.chip { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.scroll { overflow: auto; max-height: 34rem; border: 1px solid var(--line); border-radius: 6px; margin: .7rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; background: var(--box); font-weight: 600; vertical-align: bottom; }
td:first-child { overflow-wrap: anywhere; min-width: 9rem; }
.number { text-align: right; white-space: nowrap; }
td.share { background: linear-gradient(to right, color-mix(in srgb, var(--mark) 35%, transparent) var(--share),
  transparent var(--share)); }
td.worse { color: var(--bad); font-weight: 600; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; background: var(--box); padding: .7rem;
  border-radius: 4px; }
footer { margin-top: 2.5rem; font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
@media (max-width: 640px) { .tiles { grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: .4rem; }
  .tile b { font-size: 1.05rem; } .views { grid-auto-flow: row; grid-template-columns: minmax(0, 1fr); }
  .view { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
  .view figure:first-child:nth-last-child(3) { grid-column: 1 / -1; } main { padding: 1rem .8rem 2rem; } }
@media print { main { max-width: none; padding: 0; } .scroll { max-height: none; overflow: visible; }
  section { break-inside: auto; } h2 { break-after: avoid; } tr { break-inside: avoid; } th { position: static; } }
"""
