/**
 * The one stylesheet: tokens first, then the page frame, then the parts that pages are made of.
 *
 * Served by microblog at /assets/dmb.css; `stylesheetHash` is its content's hash for the query of
 * the link and the ETag. Dark and light follow the system. Sizes are rem, so that the reader's
 * font size rules; nothing needs a fixed width. Text on its ground keeps a contrast of 4.5 : 1 or
 * more in both schemes, borders of controls 3 : 1.
 *
 * Parts: `.card` · `.stack` (children with even gaps) · `.lead`, `.muted`, `.small` · `.button`
 * (+ `.secondary`, `.danger`, `.quiet`, `.small`) · `.field` (label, `.hint`, input, `.field-error`) ·
 * `.error-summary`, `.notice` (+ `.success`, `.warning`) · `.choices` (radio cards) · `.rows`
 * (list of `.row` with `.row-main`, `.row-end`) · `.facts` (a definition list) · `.badge` · `.avatar`
 * (+ `.large`, `.tint-0` … `.tint-7`) · `.code` (text to copy) · `.hero`, `.features` (landing) ·
 * `.profile` (`.profile-banner`, `.profile-head`, `.profile-note`), `.counts` · `.posts` with `.post` (`.post-head`, `.post-name`, `.post-acct`,
 * `.post-time`, `.post-body`, `.post-foot`) · `.pager` · `.visually-hidden`.
 */
import { createHash } from 'node:crypto';

const tokens = `
:root{color-scheme:light dark;
--ground:#f6f6f3;--surface:#fff;--sunk:#f1f1ed;--ink:#1c1e22;--muted:#5a606b;--line:#e3e3dd;--edge:#8b909a;
--accent:#2f4fc9;--accent-strong:#2440aa;--on-accent:#fff;--accent-soft:#edf0fc;
--danger:#b3261e;--danger-strong:#8f1d17;--danger-soft:#fcefee;--good:#17693f;--good-soft:#eaf6ef;--warn:#7a4f00;--warn-soft:#fdf4e0;
--shadow:0 1px 2px rgb(20 22 28/.05),0 8px 28px -12px rgb(20 22 28/.14);
--radius:.875rem;--radius-small:.625rem;
--sans:ui-sans-serif,system-ui,-apple-system,"Segoe UI Variable Text","Segoe UI",Roboto,"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;
--mono:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"Liberation Mono",monospace}
@media (prefers-color-scheme:dark){:root{
--ground:#121316;--surface:#1a1c20;--sunk:#22252a;--ink:#ecedef;--muted:#a3a9b4;--line:#2c2f36;--edge:#6d7480;
--accent:#9db1ff;--accent-strong:#b9c7ff;--on-accent:#10152b;--accent-soft:#222a47;
--danger:#ff9d94;--danger-strong:#ffb9b2;--danger-soft:#3a1f1e;--good:#7fd6a6;--good-soft:#17301f;--warn:#f0c36d;--warn-soft:#33280f;
--shadow:0 1px 2px rgb(0 0 0/.3),0 12px 32px -14px rgb(0 0 0/.6)}}
`;

const frame = `
*,*::before,*::after{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-padding-top:5rem}
body{margin:0;min-height:100vh;min-height:100dvh;display:flex;flex-direction:column;background:var(--ground);color:var(--ink);font:400 1.0625rem/1.6 var(--sans);-webkit-font-smoothing:antialiased}
h1,h2,h3{margin:0;line-height:1.2;letter-spacing:-.017em;font-weight:680;text-wrap:balance}
h1{font-size:clamp(1.625rem,1.35rem + 1.2vw,2rem)}h2{font-size:1.25rem}h3{font-size:1.0625rem}
p,ul,ol,dl,figure,fieldset{margin:0}
a{color:var(--accent);text-underline-offset:.18em;text-decoration-thickness:.07em;text-decoration-color:color-mix(in srgb,currentColor 40%,transparent)}
a:hover{color:var(--accent-strong);text-decoration-color:currentColor}
:focus{outline:none}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:.375rem}
main:focus-visible{outline:none}
::selection{background:color-mix(in srgb,var(--accent) 28%,transparent)}
.skip-link{position:absolute;left:1rem;top:-4rem;z-index:10;padding:.625rem 1rem;background:var(--surface);border-radius:var(--radius-small)}
.skip-link:focus{top:.75rem;box-shadow:var(--shadow)}
.visually-hidden{position:absolute!important;width:1px;height:1px;margin:-1px;padding:0;overflow:hidden;clip-path:inset(50%);white-space:nowrap;border:0}
.site-header{border-bottom:1px solid var(--line);background:var(--surface)}
.site-header-inner,.site-footer-inner{width:100%;max-width:66rem;margin:0 auto;padding:0 1.25rem}
.site-header-inner{display:flex;align-items:center;justify-content:space-between;gap:1rem;min-height:4rem}
.brand{display:flex;align-items:center;gap:.7rem;min-width:0;color:var(--ink);font-weight:660;letter-spacing:-.01em;text-decoration:none}
.brand:hover{color:var(--ink)}
.brand span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.mark{flex:none;display:block}.mark-ground{fill:var(--accent)}.mark-lines{fill:none;stroke:var(--on-accent);stroke-width:2.4;stroke-linecap:round}.mark-dot{fill:var(--on-accent)}
.site-nav{display:flex;align-items:center;gap:.25rem;flex:none;font-size:.9375rem}
.site-nav a,.site-nav button{display:inline-block;padding:.4rem .75rem;border:0;border-radius:.5rem;background:none;color:var(--muted);font:inherit;font-weight:540;text-decoration:none;cursor:pointer}
.site-nav a:hover,.site-nav button:hover{background:var(--sunk);color:var(--ink)}
.site-nav a[aria-current]{color:var(--ink)}
.site-nav form{display:flex;margin:0}
main{flex:1;width:100%;margin:0 auto;padding:clamp(2rem,1.2rem + 4vw,4rem) 1.25rem clamp(3rem,2rem + 4vw,5.5rem)}
main.narrow{max-width:30.5rem}main.column{max-width:44.5rem}main.wide{max-width:66rem}
.site-footer{border-top:1px solid var(--line);color:var(--muted);font-size:.875rem}
.site-footer-inner{display:flex;flex-direction:column;gap:.5rem;padding-top:1.5rem;padding-bottom:2rem}
.site-footer a{color:inherit}
`;

const parts = `
.stack{display:flex;flex-direction:column;gap:1.25rem}.stack.loose{gap:2.25rem}.stack.tight{gap:.5rem}
.lead{color:var(--muted);font-size:1.125rem;text-wrap:pretty}.muted{color:var(--muted)}.small{font-size:.9rem}
.page-head{display:flex;flex-direction:column;gap:.6rem;margin-bottom:1.75rem}
.card{background:var(--surface);border:1px solid var(--line);border-radius:var(--radius);box-shadow:var(--shadow);padding:clamp(1.375rem,1rem + 1.5vw,2rem)}
.card>.page-head:last-child,.stack>.page-head{margin-bottom:0}
.below{margin-top:1.5rem;text-align:center;color:var(--muted);font-size:.9375rem}
.button{display:inline-flex;align-items:center;justify-content:center;gap:.5rem;min-height:2.875rem;padding:.55rem 1.25rem;border:1px solid transparent;border-radius:var(--radius-small);background:var(--accent);color:var(--on-accent);font:inherit;font-weight:600;line-height:1.3;text-align:center;text-decoration:none;cursor:pointer;transition:background-color .12s ease}
.button:hover{background:var(--accent-strong);color:var(--on-accent)}
.button:active{transform:translateY(1px)}
.button.secondary{background:transparent;border-color:var(--edge);color:var(--ink)}.button.secondary:hover{background:var(--sunk)}
.button.danger{background:transparent;border-color:var(--danger);color:var(--danger)}.button.danger:hover{background:var(--danger-soft);color:var(--danger-strong)}
.button.quiet{background:transparent;color:var(--accent)}.button.quiet:hover{background:var(--accent-soft)}
.button.small{min-height:2.25rem;padding:.3rem .85rem;font-size:.9rem}
.button.full{width:100%}
.buttons{display:flex;flex-wrap:wrap;gap:.75rem}.buttons.even>*{flex:1 1 8rem}
form{margin:0}form.stack{gap:1.375rem}
fieldset{border:0;padding:0;min-width:0}legend{padding:0;margin-bottom:.5rem;font-size:.9rem;font-weight:680}
.field{display:flex;flex-direction:column;gap:.375rem}
.field label{font-weight:600;font-size:.975rem}.field .optional{font-weight:400;color:var(--muted)}
.hint{color:var(--muted);font-size:.9rem;line-height:1.45}
.field input,.field textarea,.field select{width:100%;min-height:2.875rem;padding:.55rem .85rem;border:1px solid var(--edge);border-radius:var(--radius-small);background:var(--surface);color:var(--ink);font:inherit}
.field textarea{min-height:6.5rem;resize:vertical;line-height:1.5}
.field input:focus-visible,.field textarea:focus-visible,.field select:focus-visible{outline:3px solid color-mix(in srgb,var(--accent) 35%,transparent);outline-offset:0;border-color:var(--accent);border-radius:var(--radius-small)}
.field [aria-invalid=true]{border-color:var(--danger);box-shadow:inset 0 0 0 1px var(--danger)}
.field-error{display:flex;gap:.45rem;color:var(--danger);font-size:.9rem;font-weight:560;line-height:1.45}
.affix{display:flex;align-items:stretch;border:1px solid var(--edge);border-radius:var(--radius-small);background:var(--surface);overflow:hidden}
.affix:focus-within{outline:3px solid color-mix(in srgb,var(--accent) 35%,transparent);border-color:var(--accent)}
.affix input,.affix input:focus-visible{flex:1;min-width:6rem;border:0;border-radius:0;outline:none;box-shadow:none!important;background:transparent}
.affix span{display:flex;align-items:center;max-width:60%;padding:0 .85rem;background:var(--sunk);color:var(--muted);font-size:.975rem;white-space:nowrap}
.affix span+input{padding-left:.5rem}.affix .before{padding-right:.15rem;background:transparent}
.affix .after{overflow:hidden;text-overflow:ellipsis;display:block;line-height:2.875rem}
.affix:has([aria-invalid=true]){border-color:var(--danger);box-shadow:inset 0 0 0 1px var(--danger)}
.check{display:flex;gap:.7rem;align-items:flex-start}.check input{flex:none;width:1.2rem;height:1.2rem;margin:.2rem 0 0;accent-color:var(--accent)}
.notice,.error-summary{padding:.9rem 1.1rem;border-radius:var(--radius-small);border:1px solid color-mix(in srgb,currentColor 22%,transparent);background:var(--accent-soft);font-size:.975rem;line-height:1.5;text-wrap:pretty}
.notice{color:var(--accent-strong)}
.notice.success{background:var(--good-soft);color:var(--good)}.notice.warning{background:var(--warn-soft);color:var(--warn)}
.error-summary{background:var(--danger-soft);color:var(--danger)}
.error-summary h2{font-size:1rem;letter-spacing:0}.error-summary ul{margin:.35rem 0 0;padding-left:1.1rem}.error-summary a{color:inherit}
.choices{display:flex;flex-direction:column;gap:.625rem}
.choice{position:relative;display:flex;align-items:center;gap:.85rem;padding:.75rem .9rem;border:1px solid var(--line);border-radius:var(--radius-small);background:var(--surface);cursor:pointer}
.choice:hover{border-color:var(--edge)}
.choice input{flex:none;width:1.15rem;height:1.15rem;margin:0;accent-color:var(--accent)}
.choice:has(:checked){border-color:var(--accent);background:var(--accent-soft)}
.choice:has(:focus-visible){outline:3px solid var(--accent);outline-offset:2px}
.choice input:focus-visible{outline:none}
.choice-text{min-width:0;flex:1;line-height:1.35}.choice-text>strong,.choice-text>span{display:block;overflow-wrap:anywhere}.choice-text>span{color:var(--muted);font-size:.9rem}
.rows{list-style:none;padding:0;border-top:1px solid var(--line)}
.row{display:flex;flex-wrap:wrap;align-items:center;gap:.75rem 1rem;padding:.95rem 0;border-bottom:1px solid var(--line)}
.row:last-child{border-bottom:0;padding-bottom:0}
.row-main{flex:1 1 13rem;min-width:0;line-height:1.4;overflow-wrap:anywhere}.row-main p{color:var(--muted);font-size:.9rem}.row-main blockquote{margin:.5rem 0 0;padding:.1rem 0 .1rem .9rem;border-left:3px solid var(--line);color:var(--ink);font-size:.95rem;white-space:pre-line}
.row-end{display:flex;gap:.5rem;flex:none}.row>.avatar{align-self:flex-start}
.ticks{list-style:none;padding:0;display:flex;flex-direction:column;gap:.55rem}
.ticks li{position:relative;padding-left:1.75rem;line-height:1.45}
.ticks li::before{content:"";position:absolute;left:.2rem;top:.33em;width:.42rem;height:.75rem;border:solid var(--good);border-width:0 2px 2px 0;transform:rotate(42deg)}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.5rem 1.25rem;font-size:.975rem}.facts dt{color:var(--muted)}.facts dd{margin:0;min-width:0;overflow-wrap:anywhere}
.badge{display:inline-block;padding:.08rem .55rem;border-radius:1rem;background:var(--sunk);color:var(--muted);font-size:.8rem;font-weight:580;line-height:1.5;vertical-align:.08em}
.badge.accent{background:var(--accent-soft);color:var(--accent-strong)}
.avatar{flex:none;display:inline-flex;align-items:center;justify-content:center;width:2.75rem;height:2.75rem;border-radius:.8rem;background:var(--tint,var(--accent-soft));color:#1c1e22;font-weight:680;font-size:1.1rem;text-transform:uppercase;object-fit:cover;user-select:none}
.avatar.large{width:5rem;height:5rem;border-radius:1.4rem;font-size:2rem}
.tint-0{--tint:#c9d4ff}.tint-1{--tint:#bfe3d0}.tint-2{--tint:#ffd9bd}.tint-3{--tint:#f5c9d8}.tint-4{--tint:#d9cdf7}.tint-5{--tint:#f3e2a4}.tint-6{--tint:#bfe0ee}.tint-7{--tint:#dcdcd2}
.code{display:block;padding:1rem 1.1rem;border:1px dashed var(--edge);border-radius:var(--radius-small);background:var(--sunk);font:500 1rem/1.5 var(--mono);word-break:break-all;user-select:all;text-align:center}
code{font-family:var(--mono);font-size:.9em}
.divider{height:1px;border:0;margin:0;background:var(--line)}
details>summary{cursor:pointer;color:var(--accent);font-weight:540}
`;

const reading = `
.hero{display:flex;flex-direction:column;align-items:flex-start;gap:1.25rem;padding:clamp(.5rem,2vw,2rem) 0 clamp(2rem,5vw,3.5rem);max-width:44rem}
.hero h1{font-size:clamp(2.125rem,1.5rem + 3vw,3.375rem);line-height:1.08;letter-spacing:-.03em}.hero .lead{font-size:clamp(1.125rem,1rem + .5vw,1.3125rem)}
.features{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,16rem),1fr));gap:1.25rem;list-style:none;padding:0}
.feature{padding:1.5rem;border:1px solid var(--line);border-radius:var(--radius);background:var(--surface)}.feature h2,.feature h3{font-size:1.0625rem;margin-bottom:.4rem}.feature p{color:var(--muted);font-size:.975rem;line-height:1.55}
.columns{display:grid;gap:2rem;align-items:start}@media (min-width:56rem){.columns{grid-template-columns:minmax(0,1fr) 19rem;gap:3rem}}
.profile{display:flex;flex-direction:column;gap:1.1rem;margin-bottom:2rem}
img{max-width:100%}.profile-banner{display:block;width:100%;height:auto;aspect-ratio:3/1;object-fit:cover;border-radius:var(--radius)}.feature .code{padding:.6rem .9rem;font-size:.95rem}.feature>*+*{margin-top:.75rem}.feature>h2+*,.feature>h3+*{margin-top:0}
.profile-head{display:flex;flex-wrap:wrap;align-items:center;gap:1.1rem}.profile-head h1{overflow-wrap:anywhere}.profile-acct{color:var(--muted);overflow-wrap:anywhere}
.profile-note{overflow-wrap:anywhere;text-wrap:pretty}.profile-note p+p{margin-top:.75rem}
.counts{display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;list-style:none;padding:0;color:var(--muted);font-size:.975rem}.counts strong{color:var(--ink);font-weight:660;font-variant-numeric:tabular-nums}
.posts{list-style:none;padding:0;display:flex;flex-direction:column;gap:1rem}
.post{padding:1.25rem clamp(1.1rem,.8rem + 1.2vw,1.5rem);border:1px solid var(--line);border-radius:var(--radius);background:var(--surface);overflow-wrap:anywhere}
.post.focus{box-shadow:var(--shadow);padding:1.75rem clamp(1.25rem,.8rem + 2vw,2rem)}.post.focus .post-body{font-size:1.25rem;line-height:1.55}
.post-head{display:flex;align-items:center;gap:.8rem;margin-bottom:.75rem}.post-who{flex:1;min-width:0;line-height:1.3}
.post-name{display:block;color:var(--ink);font-weight:640;text-decoration:none}.post-name:hover{text-decoration:underline}.post-acct{color:var(--muted);font-size:.9rem}
.post-time{flex:none;color:var(--muted);font-size:.9rem;text-decoration:none;white-space:nowrap}.post-time:hover{text-decoration:underline}
.post-note{display:flex;gap:.5rem;margin-bottom:.6rem;color:var(--muted);font-size:.9rem}
.post-body p,.post-body ul,.post-body ol,.post-body pre,.post-body blockquote{margin:0 0 .75rem}.post-body>:last-child{margin-bottom:0}
.post-body pre{padding:.8rem 1rem;border-radius:var(--radius-small);background:var(--sunk);overflow-x:auto;font:.9rem/1.5 var(--mono)}
.post-body blockquote{padding-left:1rem;border-left:3px solid var(--line);color:var(--muted)}
.post-body .invisible{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}.post-body .ellipsis::after{content:"…"}
.post-foot{display:flex;flex-wrap:wrap;gap:.3rem 1.25rem;margin-top:1rem;color:var(--muted);font-size:.9rem}.post-foot a{color:inherit}
.thread{list-style:none;padding:0;display:flex;flex-direction:column;gap:1rem}
.pager{display:flex;justify-content:space-between;gap:1rem;margin-top:1.75rem}
.empty{padding:2.5rem 1.5rem;border:1px dashed var(--line);border-radius:var(--radius);color:var(--muted);text-align:center}
@media (max-width:30rem){.site-header-inner{min-height:3.5rem;gap:.5rem}.brand{gap:.55rem;font-size:1rem}.site-nav{gap:0;margin-right:-.45rem;font-size:.9rem}.site-nav a,.site-nav button{padding:.4rem .45rem}.post-head{flex-wrap:wrap}.row-end{width:100%}.row-end>*{flex:1}.row-end .button{width:100%}}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}
@media (forced-colors:active){.button,.choice:has(:checked){border:1px solid ButtonText}}
@media print{.site-header,.site-footer,.pager,.skip-link{display:none}body{background:#fff}}
`;

/** The stylesheet, to be served as `text/css; charset=utf-8`. */
export const stylesheet = [tokens, frame, parts, reading].join('').trim();

/** Changes whenever the stylesheet does. */
export const stylesheetHash = createHash('sha256').update(stylesheet).digest('base64url').slice(0, 12);
