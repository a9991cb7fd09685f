export { runService } from './process.ts';
export type { Provider, ServiceDefinition, ServiceParts } from './process.ts';
export { clusterLimits } from './limits.ts';
export { clusterVariables, readClusterSettings } from './settings.ts';
export type { ClusterSettings } from './settings.ts';
