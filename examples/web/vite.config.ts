import { defineConfig } from "vite";

export default defineConfig({
  // Preact's automatic JSX runtime, as in tsconfig.json; no plugin is needed for it.
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { target: "es2022" },
  // The service allows this one origin, so another port would not do.
  server: { port: 5173, strictPort: true },
  preview: { port: 5173, strictPort: true },
});
