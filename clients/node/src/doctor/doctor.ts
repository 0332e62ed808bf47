// All checks of all addresses, in order.
import {reach, shown, type Reached} from './checks.js';
import type {DoctorOptions} from './options.js';
import type {Finding, Section} from './report.js';
import {roundTrip, subscribes} from './trip.js';

/** Runs every check that makes sense after the ones before it. Never throws for what a server does. */
export async function examine(options: DoctorOptions, signal: AbortSignal): Promise<Section[]> {
  const sections: Section[] = [];
  const reached: {node: Reached; section: Section}[] = [];
  for (const text of options.addresses) {
    const section: Section = {title: shown(text), findings: []};
    sections.push(section);
    const node = await reach(text, options, (finding) => section.findings.push(finding));
    if (node !== undefined) reached.push({node, section});
    if (signal.aborted) return sections;
  }

  let known: boolean[] | undefined;
  for (const [i, {node, section}] of reached.entries()) {
    const tell = (finding: Finding): void => { section.findings.push(finding); };
    if (node.role === 'observer') {
      tell({check: 'sessions', status: 'skipped', seen: 'an observer may make none'});
    } else {
      const others = i === 0 ? reached.slice(1).map((each) => each.node) : [];
      const answer = await roundTrip(node, others, options, tell, signal);
      if (i === 0) known = answer;
    }
    if (signal.aborted) return sections;
    await subscribes(node, options, tell, signal);
  }
  if (options.addresses.length > 1) sections.push({title: 'all addresses', findings: fleet(reached.map((each) => each.node), known,
    options.addresses.length)});
  return sections;
}

/** Whether a client may fail over between the nodes: what one makes, the others must know. Pure. */
export function fleet(nodes: Reached[], known: boolean[] | undefined, asked: number): Finding[] {
  const findings: Finding[] = [];
  const [first, ...others] = nodes;
  if (first === undefined || others.length === 0) {
    return [{check: 'cluster', status: 'skipped', seen: `${nodes.length} of ${asked} addresses can be used: nothing to compare`}];
  }
  const twice = nodes.filter((node, i) => node.nodeId !== undefined && nodes.findIndex((each) => each.nodeId === node.nodeId) < i);
  const standalone = nodes.filter((each) => each.mode !== 'redis');
  if (known === undefined) return [{check: 'cluster', status: 'skipped', seen: 'no session could be made to try it with'}];
  const strangers = others.filter((_, i) => known[i] !== true);
  if (strangers.length > 0) {
    findings.push({check: 'cluster', status: 'failed',
      seen: `a session of ${first.address.text} is not valid at ${strangers.map((each) => each.address.text).join(', ')}`,
      why: standalone.length > 0 ? 'They are servers on their own (store.mode is not "redis"): with a failover every user would be logged out.' :
        'They do not share a store, or one cannot read it: another Redis, another store.redis.prefix.',
      advice: 'Give one client the addresses of one cluster only.'});
  } else {
    findings.push({check: 'cluster', status: 'ok',
      seen: `one cluster: a session of ${first.address.text} is valid at all ${nodes.length} addresses`});
  }
  for (const node of twice) {
    if (strangers.includes(node)) continue;
    findings.push({check: 'cluster', status: 'warning', seen: `${node.address.text} is ${String(node.nodeId)} again`,
      why: 'Two addresses of one node are no failover, unless a proxy stands before several.', advice: 'Give each node once.'});
  }
  return findings;
}
