"""Checks of monitoring/dashboards that need no server. One rule a run:

check_boards.py RULE            prints what breaks it and exits 1
check_boards.py RULE --planted  puts a fault of that kind into a copy, and exits 1 where the rule does not see it
"""
import argparse
import copy
import re
import sys

import yaml

import boards as b

UIDS = {"overview.json": "portcullis-overview", "sessions.json": "portcullis-sessions", "breakers.json": "portcullis-breakers",
        "nodes.json": "portcullis-nodes"}
UNITS = {"none", "short", "s", "bytes", "percentunit", "reqps", "cps", "ops", "cpm"}
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
NO_TARGET = {"ALERTS", ""}  # of Prometheus' rules, not of an instance
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Repository:
    """What the dashboards are held against; faults are planted into `boards` only."""

    def __init__(self):
        self.boards = b.load()
        self.files = {path.name: path.read_text(encoding="utf-8") for path in sorted(b.FOLDER.glob("*.json"))}
        table = (b.ROOT / "docs/metrics.md").read_text(encoding="utf-8")
        self.types = dict(re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", table, re.M))
        self.rules, self.alerts = {}, {}
        for path in sorted((b.ROOT / "monitoring/rules").glob("*.yaml")) + sorted((b.ROOT / "monitoring/alerts").glob("*.yaml")):
            for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
                for rule in group["rules"]:
                    if "record" in rule:
                        self.rules[rule["record"]] = rule
                    else:
                        self.alerts.setdefault(rule["alert"], []).append(rule)
        self.runbooks = b.ROOT / "monitoring/runbooks"


def each_panel(repository):
    for name, board in repository.boards.items():
        for panel in b.panels(board):
            yield name, board, panel, f"{name}: panel {panel.get('id')} {panel.get('title')!r}"


def each_selector(repository):
    for name, board in repository.boards.items():
        for where, expr, target in b.queries(board):
            for selector in b.selectors(expr):
                yield f"{name}: {where}", board, target, selector


def form(repository):
    """Dashboards stand in one form, so that a change is a small one."""
    for name, text in repository.files.items():
        if text != b.form(repository.boards[name]):
            yield f"{name}: not in the form of tests/dashboards/boards.py {name}"


def schema(repository):
    """What Grafana 9 to 11 need to take a file as it is: fixed uid, no database id, a schema that all of them know."""
    if set(repository.boards) != set(UIDS):
        yield f"files: {sorted(repository.boards)}, not {sorted(UIDS)}"
    for name, board in repository.boards.items():
        if board.get("uid") != UIDS.get(name):
            yield f"{name}: uid {board.get('uid')}"
        if "id" in board:
            yield f"{name}: an id of a database"
        if not 36 <= board.get("schemaVersion", 0) <= 38:
            yield f"{name}: schemaVersion {board.get('schemaVersion')}"
        for key in ("title", "description", "tags", "time", "refresh", "templating", "annotations", "panels", "links"):
            if not board.get(key):
                yield f"{name}: no {key}"
    for name, _, panel, where in each_panel(repository):
        if panel["type"] not in {"timeseries", "stat", "heatmap", "table", "state-timeline"}:
            yield f"{where}: type {panel['type']}"
        for key in ("gridPos", "targets", "fieldConfig", "options"):
            if not panel.get(key):
                yield f"{where}: no {key}"
        refs = [target["refId"] for target in panel["targets"]]
        if len(refs) != len(set(refs)):
            yield f"{where}: two queries have one refId"


def datasources(repository):
    """Everything asks the data source that the reader chose."""
    for name, board in repository.boards.items():
        variable = board["templating"]["list"][0]
        if (variable["name"], variable["type"], variable["query"]) != ("datasource", "datasource", "prometheus"):
            yield f"{name}: the first variable is not the data source"

        def walk(value, path):
            if isinstance(value, dict):
                if "datasource" in value and value["datasource"] != SOURCE:
                    yield f"{name}: {path}: data source {value['datasource']}"
                for key, inner in value.items():
                    yield from walk(inner, f"{path}.{key}")
            elif isinstance(value, list):
                for at, inner in enumerate(value):
                    yield from walk(inner, f"{path}[{at}]")

        yield from walk(board, "")
        for panel in b.panels(board):
            for part in [panel, *panel["targets"]]:
                if "datasource" not in part:
                    yield f"{name}: panel {panel['id']}: no data source"
        for part in board["annotations"]["list"] + [each for each in board["templating"]["list"] if each["type"] == "query"]:
            if "datasource" not in part:
                yield f"{name}: {part['name']}: no data source"


def rate_intervals(repository):
    """Windows follow the scrape interval and the zoom; counters and buckets are never shown as they stand in a graph of speed."""
    ranged = {"rate", "increase", "irate", "delta", "deriv"}
    for where, _, _, selector in each_selector(repository):
        if selector.span is not None and selector.span != "$__rate_interval":
            yield f"{where}: window [{selector.span}]"
        if selector.span is None and selector.function in ranged:
            yield f"{where}: {selector.function} without a window"
        if selector.span is not None and selector.function not in ranged:
            yield f"{where}: a window in {selector.function or 'no function'}"
        if selector.metric.endswith("_bucket") and selector.function not in {"rate", "increase"}:
            yield f"{where}: buckets without rate or increase"


def units(repository):
    """Each panel says what its numbers are, and what they mean."""
    for _, _, panel, where in each_panel(repository):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if unit not in UNITS:
            yield f"{where}: unit {unit}"
        text = panel.get("description", "")
        if len(text) < 10 or not text.endswith("."):
            yield f"{where}: description {text!r}"
        if not panel.get("title"):
            yield f"{where}: no title"


def ids(repository):
    """Links lead to a panel by its id: each has one, once in its dashboard."""
    for name, board in repository.boards.items():
        seen = {}
        for panel in [*board["panels"], *(inner for row in board["panels"] for inner in row.get("panels", []))]:
            if not isinstance(panel.get("id"), int) or panel["id"] < 1:
                yield f"{name}: {panel.get('title')!r} has no id"
            elif panel["id"] in seen:
                yield f"{name}: id {panel['id']} is {seen[panel['id']]!r} and {panel['title']!r}"
            seen[panel.get("id")] = panel.get("title")
        titles = [panel["title"] for panel in b.panels(board)]
        for title in {title for title in titles if titles.count(title) > 1}:
            yield f"{name}: two panels are called {title!r}"


def layout(repository):
    """No panel lies on another, none leaves the 24 columns."""
    for name, board in repository.boards.items():
        taken = {}
        for panel in board["panels"]:
            pos = panel["gridPos"]
            if pos["x"] < 0 or pos["x"] + pos["w"] > 24 or pos["w"] < 1 or pos["h"] < 1:
                yield f"{name}: panel {panel['id']} leaves the grid"
            cells = [(x, y) for x in range(pos["x"], pos["x"] + pos["w"]) for y in range(pos["y"], pos["y"] + pos["h"])]
            on = {taken[cell] for cell in cells if cell in taken}
            if on:
                yield f"{name}: panel {panel['id']} lies on {sorted(on)}"
            taken.update({cell: panel["id"] for cell in cells})


def labels_of(metric):
    """The variables that a query on the metric has to apply. A rule's name begins with the labels that it keeps."""
    if metric in NO_TARGET or metric.startswith("portcullis:threshold:"):
        return set()
    level = metric.split(":")[0] if ":" in metric else ""
    wanted = {"job"} if level in {"job", "breaker"} else {"job", "instance"}
    if level.startswith("breaker"):
        wanted |= {"service", "breaker"}
    return wanted


def variables(repository):
    """What the reader chooses holds for every query, and there is no choice without effect."""
    exact = {"job": ("=", "$job"), "instance": ("=~", "$instance"), "service": ("=~", "$service"), "breaker": ("=~", "$breaker")}
    for name, board in repository.boards.items():
        defined = {variable["name"]: variable for variable in board["templating"]["list"]}
        for wanted in ("datasource", "job", "instance", "runbooks"):
            if wanted not in defined:
                yield f"{name}: no variable {wanted}"
        for multi in {"instance", "service", "breaker"} & set(defined):
            if not (defined[multi]["multi"] and defined[multi]["includeAll"] and defined[multi]["allValue"] == ".*"):
                yield f"{name}: {multi} is one value only, or has no all"
        used = set(re.findall(r"\$\{?(\w+)", str({key: board[key] for key in ("panels", "annotations", "templating")})))
        for lost in used - set(defined) - {"__rate_interval", "__all"}:
            yield f"{name}: ${lost} is no variable"
        for idle in set(defined) - used:
            yield f"{name}: the variable {idle} is not used"
    for where, board, _, selector in each_selector(repository):
        defined = {variable["name"] for variable in board["templating"]["list"]}
        wanted = labels_of(selector.metric)
        # Alerts of a job, and those of no job.
        if selector.metric == "ALERTS" and selector.matchers.get("job") != ("=~", "$job|"):
            yield f"{where}: ALERTS without job=~\"$job|\""
        if selector.metric.startswith("circuit_breaker_"):
            wanted |= {"service", "breaker"}
        for label in wanted & defined:
            if selector.matchers.get(label) != exact[label]:
                yield f"{where}: {selector.metric} without {label}{exact[label][0]}\"{exact[label][1]}\""


def metrics(repository):
    """Each metric is in the table of all metrics (docs/metrics.md), a rule's, or Prometheus' own; counters are used as counters."""
    for where, _, _, selector in each_selector(repository):
        metric = selector.metric
        if metric in OF_PROMETHEUS | NO_TARGET or metric in repository.rules:
            continue
        base = re.sub(r"_(bucket|sum|count)$", "", metric)
        kind = repository.types.get(metric) or ("histogram" if repository.types.get(base) == "histogram" else None)
        if kind is None:
            yield f"{where}: nobody has {metric}"
        elif kind == "histogram" and metric == base:
            yield f"{where}: {metric} is a histogram"
        elif kind == "gauge" and selector.function in {"rate", "increase"}:
            yield f"{where}: {selector.function} of the gauge {metric}"


def coverage(repository):
    """No metric is measured for nobody: each is in a panel, of itself or by way of a rule."""
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for _, _, _, selector in each_selector(repository) for name in [selector.metric]}
    used |= {selector.metric for _, _, _, selector in each_selector(repository)}
    grown = True
    while grown:
        inner = {selector.metric for name in used & set(repository.rules) for selector in b.selectors(str(repository.rules[name]["expr"]))}
        inner |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in inner}
        grown = not inner <= used
        used |= inner
    for metric in sorted(set(repository.types) - used):
        yield f"{metric} is on no panel"


def legends(repository):
    """A line is named by labels that its query keeps: where it aggregates, those of `by`."""
    for name, board in repository.boards.items():
        for where, expr, target in b.queries(board):
            if target is None:
                continue
            if not target["legendFormat"] and target.get("format") != "table":
                yield f"{name}: {where}: no legend"
            outer = re.match(r"(?:60 \* |topk\(10, (?:60 \* )?|histogram_quantile\([\d.]+, )*(?:sum|max|min|count) by \(([^)]*)\)", expr)
            kept = {label.strip() for label in outer.group(1).split(",")} if outer else None
            if re.match(r"(60 \* )?(sum|max|min|count)\(", expr):
                kept = set()
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if kept is not None and named - kept:
                yield f"{name}: {where}: the legend names {sorted(named - kept)}, the query keeps {sorted(kept)}"


def links(repository):
    """From each dashboard to the other three; from a panel with an alert to its runbook, which is there, and to the alert."""
    for name, board in repository.boards.items():
        leads = {link["url"] for link in board["links"]}
        wanted = {f"/d/{uid}" for uid in UIDS.values() if uid != board["uid"]}
        if leads != wanted or not all(link["includeVars"] and link["keepTime"] for link in board["links"]):
            yield f"{name}: links to {sorted(leads)}"
    for _, _, panel, where in each_panel(repository):
        for link in panel.get("links", []):
            runbook = re.fullmatch(r"\$\{runbooks\}/(\w+)\.md", link["url"])
            alert = re.fullmatch(r"/alerting/list\?search=(\w+)", link["url"])
            found = runbook or alert
            if not found:
                yield f"{where}: a link to {link['url']}"
            elif found.group(1) not in repository.alerts:
                yield f"{where}: there is no alert {found.group(1)}"
            elif runbook and not (repository.runbooks / f"{runbook.group(1)}.md").exists():
                yield f"{where}: there is no runbook {runbook.group(1)}.md"


def alerts(repository):
    """Each alert names a panel that is there by dashboard, id and title; that panel leads back, and the graphs show the alert."""
    by_uid = {board["uid"]: board for board in repository.boards.values()}
    if not repository.alerts:
        yield "monitoring/alerts has no alerts"
    told = set()
    for alert, rules in repository.alerts.items():
        for rule in rules:
            address = re.search(r"/d/([\w-]+)\?viewPanel=(\d+)((?:&var-\w+=[^&]*)*)$", rule["annotations"].get("dashboard_url", ""))
            if not address or address.group(1) not in by_uid:
                yield f"{alert}: dashboard_url {rule['annotations'].get('dashboard_url')!r} leads to no dashboard"
                continue
            board = by_uid[address.group(1)]
            panel = next((each for each in b.panels(board) if each["id"] == int(address.group(2))), None)
            if panel is None or panel["title"] != rule["annotations"].get("panel"):
                yield f"{alert}: its panel {rule['annotations'].get('panel')!r} is not the one with id {address.group(2)}"
                continue
            for lost in set(re.findall(r"&var-(\w+)=", address.group(3))) - {each["name"] for each in board["templating"]["list"]}:
                yield f"{alert}: its link sets {lost}, which is no variable of {board['uid']}"
            urls = [link["url"] for link in panel.get("links", [])]
            for url in (f"${{runbooks}}/{alert}.md", f"/alerting/list?search={alert}"):
                told.add((board["uid"], panel["id"], url))
                if url not in urls:
                    yield f"{alert}: panel {panel['title']!r} does not lead back to {url}"
            shown = " ".join(annotation["expr"] for annotation in board["annotations"]["list"])
            if not re.search(rf"[\"|]{alert}[\"|]", shown):
                yield f"{alert}: the graphs of {board['uid']} do not show when it fires"
    for name, board, panel, where in each_panel(repository):
        for link in panel.get("links", []):
            if (board["uid"], panel["id"], link["url"]) not in told:
                yield f"{where}: leads to {link['url']}, whose alert names another panel"


def thresholds(repository):
    """A number that an alert compares with stands in monitoring/rules/thresholds.yaml only: graphs draw it from there."""
    drawn = {}
    for name, _, panel, where in each_panel(repository):
        metric = {selector.metric for target in panel["targets"] for selector in b.selectors(target["expr"])}
        drawn[where] = (panel, {name.removeprefix("portcullis:threshold:") for name in metric if name.startswith("portcullis:threshold:")})
        for name in metric:
            if name.startswith("portcullis:threshold:") and name not in repository.rules:
                yield f"{where}: no rule records {name}"
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        if any(step["value"] not in (None, 0, 1) for step in steps):
            yield f"{where}: has a threshold of its own"
    of_conditions = {"breaker_calls", "validations"}  # below so many calls there is no alert: no height in a graph
    for alert, rules in repository.alerts.items():
        for rule in rules:
            compared = {selector.metric.removeprefix("portcullis:threshold:") for selector in b.selectors(rule["expr"])
                        if selector.metric.startswith("portcullis:threshold:")}
            for panel, there in drawn.values():
                if panel["type"] == "timeseries" and panel["title"] == rule["annotations"].get("panel") and alert != "PortcullisThresholdsMissing":
                    for missing in compared - there - of_conditions:
                        yield f"{alert}: its panel {panel['title']!r} does not draw {missing}"


def plant(repository, rule):
    """Puts one fault of the rule's kind into the boards."""
    board = repository.boards["breakers.json"]
    panel = next(each for each in b.panels(board) if each["id"] == 31)
    state = next(each for each in b.panels(board) if each["id"] == 1)
    target = panel["targets"][0]
    if rule == "form":
        repository.files["breakers.json"] = repository.files["breakers.json"].replace("  ", "   ", 1)
    elif rule == "schema":
        board["uid"] = "another"
    elif rule == "datasources":
        target["datasource"] = {"type": "prometheus", "uid": "P1809F7CD0C75ACF3"}
    elif rule == "rate_intervals":
        target["expr"] = target["expr"].replace("$__rate_interval", "5m")
    elif rule == "units":
        del panel["fieldConfig"]["defaults"]["unit"]
    elif rule == "ids":
        panel["id"] = state["id"]
    elif rule == "layout":
        panel["gridPos"]["x"] -= 1
    elif rule == "variables":
        target["expr"] = target["expr"].replace('instance=~"$instance",', "")
    elif rule == "metrics":
        target["expr"] = target["expr"].replace("open_seconds_total", "opened_seconds_total")
    elif rule == "coverage":
        board["panels"].remove(panel)
    elif rule == "legends":
        target["legendFormat"] = "{{servcie}}"
    elif rule == "links":
        state["links"][0]["url"] = "https://wiki.example.org/runbooks/circuit-breaker-open"
    elif rule == "alerts":
        state["id"] = 900
    elif rule == "thresholds":
        next(each for each in b.panels(board) if each["id"] == 2)["targets"].pop()


RULES = {rule.__name__: rule for rule in (form, schema, datasources, rate_intervals, units, ids, layout, variables, metrics, coverage,
                                          legends, links, alerts, thresholds)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rule", choices=sorted(RULES))
    parser.add_argument("--planted", action="store_true")
    options = parser.parse_args()
    repository = Repository()
    rule = RULES[options.rule]
    faults = list(rule(repository))
    if options.planted:
        planted = copy.copy(repository)
        planted.boards, planted.files = copy.deepcopy(repository.boards), dict(repository.files)
        plant(planted, options.rule)
        new = [fault for fault in rule(planted) if fault not in faults]
        print("\n".join(new) or f"{options.rule} does not see its fault")
        return 0 if new else 1
    print("\n".join(faults) or f"{options.rule}: {len(repository.boards)} dashboards, {sum(1 for _ in each_panel(repository))} panels")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
