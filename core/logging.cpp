#include "core/logging.hpp"

#include "core/error.hpp"

#include <filesystem>
#include <memory>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <string>
#include <system_error>

namespace sluice {

namespace {

int logging_rank = 0;

/// What was said while there was no file yet.
using Said = spdlog::sinks::ringbuffer_sink_mt;
constexpr std::size_t most_said = 256;

/// Holds Said until there is a file, then the file. May change while other threads log.
const std::shared_ptr<spdlog::sinks::dist_sink_mt>& kept()
{
    static const auto sinks = std::make_shared<spdlog::sinks::dist_sink_mt>(
        std::vector<spdlog::sink_ptr>{std::make_shared<Said>(most_said)});
    return sinks;
}

std::shared_ptr<spdlog::sinks::basic_file_sink_mt> file_sink(const std::filesystem::path& path)
{
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %v");
    return sink;
}

/// Each level has its own word in front, so the pattern is the bare text.
std::shared_ptr<spdlog::logger> make_logger()
{
    const auto terminal = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    terminal->set_pattern("%v");
    auto logger =
        std::make_shared<spdlog::logger>("sluice", spdlog::sinks_init_list{terminal, kept()});
    logger->flush_on(spdlog::level::info);
    // A full disk under log.txt must not end the run, nor repeat itself on the terminal.
    logger->set_error_handler([](const std::string&) {});
    return logger;
}

spdlog::logger& logger()
{
    static const std::shared_ptr<spdlog::logger> instance = make_logger();
    return *instance;
}

void write(spdlog::level::level_enum level, std::string_view word, std::string_view message)
{
    const std::string prefix =
        logging_rank == 0 ? "[sluice] " : "[sluice rank " + std::to_string(logging_rank) + "] ";
    logger().log(level, "{}{}{}", prefix, word, message);
}

/// Without what to do, which is no reason.
std::string in_one_line(std::string_view message)
{
    std::string line;
    for (const char letter : message.substr(0, message.find("\n  what to do"))) {
        const bool blank = letter == '\n' || letter == ' ';
        if (!blank || !line.ends_with(' '))
            line += blank ? ' ' : letter;
    }
    return line;
}

} // namespace

void start_logging(int rank, int num_ranks)
{
    SLUICE_CHECK(rank >= 0 && rank < num_ranks, "rank " << rank << " of " << num_ranks);
    logging_rank = rank;
    logger().set_level(rank == 0 ? spdlog::level::info : spdlog::level::err);
}

void log_to_file(const std::filesystem::path& path)
{
    if (logging_rank != 0)
        return;
    std::error_code error;
    if (std::filesystem::is_fifo(std::filesystem::status(path, error)))
        throw data_error("this is a pipe, and a run would wait for its reader", path.string(),
                         "remove it: log.txt is a file");
    try {
        auto sink = file_sink(path);
        if (const auto said = std::dynamic_pointer_cast<Said>(kept()->sinks().front()))
            for (const auto& message : said->last_raw())
                sink->log(message);
        sink->flush();
        kept()->set_sinks({std::move(sink)});
    } catch (const spdlog::spdlog_ex& error) {
        throw data_error(std::string("cannot open the log file: ") + error.what(), path.string(),
                         "check the permissions of its folder");
    }
}

void log_last_words(const std::filesystem::path& path, std::string_view message)
{
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        return;
    try {
        const std::string text = "[sluice] error: " + in_one_line(message);
        const auto sink = file_sink(path);
        sink->log({"sluice", spdlog::level::err, text});
        sink->flush();
    } catch (const spdlog::spdlog_ex&) { // of a full disk, say
    }
}

void log_info(std::string_view message) { write(spdlog::level::info, "", message); }
void log_warning(std::string_view message) { write(spdlog::level::warn, "warning: ", message); }
void log_error(std::string_view message) { write(spdlog::level::err, "error: ", message); }

} // namespace sluice
