// Microsoft's own KQL language service over the queries of infra/queries: node kql.mjs PACKAGE < {tables, queries}
//
// In: {"tables": {NAME: {COLUMN: TYPE}}, "queries": {NAME: TEXT}}. Out: {NAME: {"problems": [TEXT], "columns": {COLUMN: TYPE}}}.
// PACKAGE is the folder of @kusto/language-service-next. It is made for browsers: its scripts want the global scope.

import fs from 'node:fs'
import path from 'node:path'
import vm from 'node:vm'

const folder = process.argv[2]
for (const script of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, script), 'utf8'), { filename: script })
}

const { Kusto, Bridge, System } = globalThis
const { tables, queries } = JSON.parse(fs.readFileSync(0, 'utf8'))

const known = new (System.Collections.Generic.List$1(Kusto.Language.Symbols.TableSymbol).ctor)()
for (const [name, columns] of Object.entries(tables)) {
  const listed = Object.entries(columns).map(([column, type]) => `${column}: ${type}`)
  known.add(new Kusto.Language.Symbols.TableSymbol.$ctor7(name, `(${listed.join(', ')})`, null))
}
const state = Kusto.Language.GlobalState.Default.WithDatabase(
  new Kusto.Language.Symbols.DatabaseSymbol.$ctor1('workspace', known, false),
)

const look = (text) => {
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(text, state)
  const problems = Bridge.toArray(code.GetDiagnostics()).map((each) => `${each.Code}: ${each.Message}`)
  const result = code.ResultType
  const columns = result?.Columns ? Bridge.toArray(result.Columns).map((each) => [each.Name, each.Type.Name]) : []
  return { problems, columns: Object.fromEntries(columns) }
}

console.log(JSON.stringify(Object.fromEntries(Object.entries(queries).map(([name, text]) => [name, look(text)]))))
