export { accountPaging, idMax, linkHeader, parseId, parseLimit, parsePaging, statusPaging } from './link.ts';
export type { LinkOptions, Paging, PagingLimits } from './link.ts';
