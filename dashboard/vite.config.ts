import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  // The pages may be under a path of a proxy in front: nothing in them begins at its root.
  base: './',
  resolve: {
    // In the clone the page is built from the client's source, so that the two cannot drift apart.
    alias: {
      'sightline/client/cameras': fileURLToPath(new URL('../src/client/cameras.ts', import.meta.url)),
      'sightline/client': fileURLToPath(new URL('../src/client/index.ts', import.meta.url)),
    },
  },
  build: {
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: ['index.html', 'wall.html', 'camera.html', 'rover.html', 'api.html', 'login.html'].map((page) =>
        fileURLToPath(new URL(page, import.meta.url)),
      ),
    },
  },
  server: {
    // `npm run dev` beside a running server. Vite hands on the page's own Host, which the server knows as loopback.
    proxy: Object.fromEntries(
      ['/ws', '/api', '/cameras', '/health', '/demo', '/licences'].map((path) => [
        path,
        { target: 'http://127.0.0.1:8080', ws: path === '/ws' },
      ]),
    ),
  },
});
