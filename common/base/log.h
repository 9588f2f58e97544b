/* Daemon logging: one line per event with fields. Library rooms and pure cores never log.
 *
 * Form: `time level event key=value ...`, e.g. "chunk.corrupt chunk=2a.0.1 replica=c3".
 * error = someone must act; warn = we went on, the text says how; info = state changes; debug. */
#ifndef CAIRN_BASE_LOG_H
#define CAIRN_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* `file` NULL means standard error. Returns a negated err. Call once, before threads start. */
int log_open(const char *file, enum log_level level);
int log_level_parse(const char *text, enum log_level *ret_level);

/* Any thread. `event` is a dotted noun.verb; the rest are its fields. */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)

#endif
