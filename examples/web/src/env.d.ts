interface ImportMetaEnv {
  /** Where the service listens; without it, the address of `dispute-service demo`. */
  readonly VITE_SERVICE_URL?: string;
}
