// The reference parser of AsyncAPI finds no fault with docs/events/asyncapi.yaml,
// and finds one where there is one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Parser } from '@asyncapi/parser';

const source = readFileSync(process.env.ASYNCAPI_FILE, 'utf8');
const parse = text => new Parser().parse(text);
const ERROR = 0;
const errors = diagnostics => diagnostics.filter(d => d.severity === ERROR).map(d => `${d.path.join('.')}: ${d.message}`);

test('the document is valid', async () => {
  const { document, diagnostics } = await parse(source);
  assert.deepEqual(errors(diagnostics), []);
  assert.equal(document.version(), '3.0.0');
  const topics = document.channels().all().map(c => c.address()).sort();
  assert.deepEqual(topics, process.env.TOPICS.split(',').sort());
  for (const operation of document.operations().all()) {
    assert.ok(operation.messages().all().length > 0, operation.id());
    assert.equal(operation.action(), operation.channels().all()[0].address() === 'stampede.commands.v1' ? 'receive' : 'send');
  }
  for (const message of document.allMessages().all()) {
    assert.ok(message.headers() && message.payload() && message.bindings().get('kafka'), message.id());
  }
});

test('a fault is found', async () => {
  for (const broken of [source.replace('#/components/messages/OrderPlaced', '#/components/messages/Nobody'), source.replace(/action: send/, 'action: shout')]) {
    assert.notEqual(broken, source);
    const { diagnostics } = await parse(broken);
    assert.notDeepEqual(errors(diagnostics), []);
  }
});
