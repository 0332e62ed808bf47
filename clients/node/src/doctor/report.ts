// What the doctor found, and how it is shown: as text for people, as JSON for programs.

export type Status = 'ok' | 'warning' | 'failed' | 'skipped';

/** The result of one check. Never holds a token or the id of a session. */
export interface Finding {
  /** `address`, `connect`, `tls`, `protocol`, `login`, `role`, `store`, `clock`, `sessions`, `events`, `cleanup`, `cluster`. */
  check: string;
  status: Status;
  /** What was seen. */
  seen: string;
  /** What that means. */
  why?: string;
  /** What to do. */
  advice?: string;
}

/** The findings about one address, or about all of them together. */
export interface Section {
  title: string;
  findings: Finding[];
}

export interface Report {
  /** Of this package. */
  version: string;
  /** Of Node. */
  node: string;
  /** Nothing failed; there may be warnings. */
  healthy: boolean;
  counts: Record<Status, number>;
  sections: Section[];
}

export function reportOf(version: string, sections: Section[]): Report {
  const counts: Record<Status, number> = {ok: 0, warning: 0, failed: 0, skipped: 0};
  for (const {findings} of sections) for (const each of findings) ++counts[each.status];
  return {version, node: process.version, healthy: counts.failed === 0, counts, sections};
}

/** Controls, also those past ASCII; marks that turn the direction of writing; the separators that some take for a line's end. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text from a server may hold anything; a terminal must not obey it. */
export function printable(text: string): string { return text.replace(unprintable, '?'); }

/** The same for JSON, which says what was there: as `\uXXXX`. Its own line breaks stay. */
function printableJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(unprintable, (mark) =>
    mark === '\n' ? mark : `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

const words: Record<Status, string> = {ok: 'ok', warning: 'WARNING', failed: 'FAILED', skipped: 'skipped'};

function textOf(finding: Finding): string {
  const lines = [`  ${words[finding.status].padEnd(8)} ${finding.check.padEnd(9)} ${finding.seen}`];
  if (finding.why !== undefined) lines.push(`           why: ${finding.why}`);
  if (finding.advice !== undefined) lines.push(`           do:  ${finding.advice}`);
  return lines.map((line) => `${printable(line)}\n`).join('');
}

export function render(report: Report, json: boolean): string {
  if (json) return `${printableJson(report)}\n`;
  const {counts} = report;
  return `portcullis-client ${report.version}, node ${report.node}\n` +
    report.sections.map(({title, findings}) => `${printable(title)}\n${findings.map(textOf).join('')}`).join('') +
    `${counts.ok} ok, ${counts.warning} warnings, ${counts.failed} failed, ${counts.skipped} skipped\n`;
}
