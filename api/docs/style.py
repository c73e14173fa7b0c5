"""How the page of `html` looks: the reader's own fonts and colours, light or dark."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --post: #2a7; --get: #38c; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: auto; padding: 1rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
summary span { opacity: .7; margin-left: .7rem; }
details:target { border-color: var(--get); }
.post { color: var(--post); } .get { color: var(--get); }
pre { overflow-x: auto; padding: .5rem; background: #8881; border-radius: .3rem; margin: .3rem 0; }
code, pre { font: .9em ui-monospace, monospace; }
table { border-collapse: collapse; } td { border-top: 1px solid var(--line); padding: .15rem .6rem; vertical-align: top; }
ul { margin: .2rem 0 .6rem; padding-left: 1.2rem; }
"""
