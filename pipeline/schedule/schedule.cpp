#include "pipeline/schedule/schedule.hpp"

#include "core/error.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace sluice {

namespace {

/// Longer names first where one begins with another's letters.
constexpr std::array<std::pair<std::string_view, ActionKind>, 8> kind_names{{
    {"RA", ActionKind::receive_activation},
    {"SA", ActionKind::send_activation},
    {"RG", ActionKind::receive_gradient},
    {"SG", ActionKind::send_gradient},
    {"F", ActionKind::forward},
    {"B", ActionKind::backward},
    {"I", ActionKind::backward_input},
    {"W", ActionKind::backward_weight},
}};

/// More than any machine has; keeps a damaged file from asking for all memory.
constexpr std::int32_t most_ranks_or_chunks = 1 << 20;

void append_number(std::string& text, std::int32_t number)
{
    std::array<char, 16> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text.append(digits.data(), end);
}

void append(std::string& text, const Action& action)
{
    if (action.kind == ActionKind::optimizer_step) {
        text += 'O';
        return;
    }
    append_number(text, action.chunk);
    for (const auto& [name, kind] : kind_names)
        if (kind == action.kind)
            text += name;
    append_number(text, action.microbatch);
}

/// Reads a whole number from the front of `text`; false when there is none or it is too large.
bool take_number(std::string_view& text, std::int32_t& number)
{
    if (text.empty() || text.front() < '0' || text.front() > '9')
        return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc())
        return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

class Parser {
public:
    Parser(std::string_view text, std::string_view source) : rest_(text), source_(source) {}

    Schedule parse()
    {
        while (next_line()) {
            std::string_view token;
            if (!next_token(token))
                continue;
            if (!have_sizes_)
                read_sizes(token);
            else
                read_rank(token);
        }
        if (!have_sizes_)
            fail("no schedule here", "begin with `ranks P chunks C microbatches M`");
        for (std::size_t rank = 0; rank < have_rank_.size(); ++rank)
            if (!have_rank_[rank])
                fail("rank " + std::to_string(rank) + " has no line",
                     "write one line `" + std::to_string(rank) + ": ...` per rank");
        for (std::int32_t chunk = 0; chunk < schedule_.num_chunks; ++chunk)
            if (schedule_.rank_of_chunk[chunk] < 0)
                fail("chunk " + std::to_string(chunk) + " has no action on any rank",
                     "give every chunk from 0 to " + std::to_string(schedule_.num_chunks - 1) +
                         " its actions on one rank");
        return std::move(schedule_);
    }

private:
    [[noreturn]] void fail(std::string problem, std::string remedy) const
    {
        throw usage_error(std::move(problem),
                          std::string(source_) + ":" + std::to_string(line_number_),
                          std::move(remedy));
    }

    bool next_line()
    {
        if (rest_.empty())
            return false;
        const std::size_t end = std::min(rest_.find('\n'), rest_.size());
        line_ = rest_.substr(0, end);
        line_ = line_.substr(0, line_.find('#'));
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        ++line_number_;
        return true;
    }

    bool next_token(std::string_view& token)
    {
        constexpr std::string_view blanks = " \t\r";
        line_.remove_prefix(std::min(line_.find_first_not_of(blanks), line_.size()));
        token = line_.substr(0, line_.find_first_of(blanks));
        line_.remove_prefix(token.size());
        return !token.empty();
    }

    std::int32_t size_behind(std::string_view word, std::int32_t most)
    {
        std::string_view token;
        std::int32_t number = 0;
        const bool there = next_token(token);
        std::string_view digits = token;
        if (!there || !take_number(digits, number) || !digits.empty() || number < 1 ||
            number > most)
            fail("'" + std::string(token) + "' behind '" + std::string(word) +
                     "' is not a number from 1 to " + std::to_string(most),
                 "write the first line like `ranks 2 chunks 2 microbatches 4`");
        return number;
    }

    void read_sizes(std::string_view token)
    {
        std::int32_t num_ranks = 0;
        for (const std::string_view word : {"ranks", "chunks", "microbatches"}) {
            if ((word != "ranks" && !next_token(token)) || token != word)
                fail("'" + std::string(token) + "' where '" + std::string(word) + "' was expected",
                     "write the first line like `ranks 2 chunks 2 microbatches 4`");
            if (word == "ranks")
                num_ranks = size_behind(word, most_ranks_or_chunks);
            else if (word == "chunks")
                schedule_.num_chunks = size_behind(word, most_ranks_or_chunks);
            else
                schedule_.num_microbatches = size_behind(word, 0x7fffffff);
        }
        if (next_token(token))
            fail("'" + std::string(token) + "' behind the sizes",
                 "begin each rank on its own line");
        // Every rank needs a line and every chunk an action: what is left of the file bounds both,
        // so that a few bytes cannot ask for much memory.
        for (const auto& [word, size] :
             {std::pair("ranks", num_ranks), std::pair("chunks", schedule_.num_chunks)})
            if (static_cast<std::size_t>(size) > rest_.size())
                fail("there are " + std::to_string(size) + " " + word + " and only " +
                         std::to_string(rest_.size()) + " bytes of actions behind them",
                     "write one line per rank, and give every chunk its actions");
        schedule_.rank_of_chunk.assign(static_cast<std::size_t>(schedule_.num_chunks), -1);
        schedule_.actions.resize(static_cast<std::size_t>(num_ranks));
        have_rank_.assign(static_cast<std::size_t>(num_ranks), false);
        have_sizes_ = true;
    }

    void read_rank(std::string_view token)
    {
        std::int32_t rank = 0;
        std::string_view digits = token;
        if (!take_number(digits, rank) || digits != ":")
            fail("'" + std::string(token) + "' is not a rank", "begin the line like `0: 0F0 0F1`");
        if (rank >= schedule_.num_ranks())
            fail("rank " + std::to_string(rank) + " of " + std::to_string(schedule_.num_ranks()),
                 "ranks count from 0");
        if (have_rank_[static_cast<std::size_t>(rank)])
            fail("rank " + std::to_string(rank) + " has a second line", "join the two lines");
        have_rank_[static_cast<std::size_t>(rank)] = true;
        auto& actions = schedule_.actions[static_cast<std::size_t>(rank)];
        while (next_token(token))
            actions.push_back(read_action(token, rank));
    }

    Action read_action(std::string_view token, std::int32_t rank)
    {
        Action action;
        if (token == "O") {
            action.kind = ActionKind::optimizer_step;
            return action;
        }
        const auto reject = [&](const std::string& why, const std::string& remedy) {
            fail("'" + std::string(token) + "' on rank " + std::to_string(rank) + ": " + why,
                 remedy);
        };
        const std::string form = "write <chunk><kind><micro-batch> such as 0F3, kind one of F B I "
                                 "W RA SA RG SG, or O";
        std::string_view rest = token;
        if (!take_number(rest, action.chunk))
            reject("no chunk number in front", form);
        bool found = false;
        for (const auto& [name, kind] : kind_names)
            if (!found && rest.starts_with(name)) {
                action.kind = kind;
                rest.remove_prefix(name.size());
                found = true;
            }
        if (!found)
            reject("unknown kind of action", form);
        if (!take_number(rest, action.microbatch) || !rest.empty())
            reject("no micro-batch number behind the kind", form);
        if (action.chunk >= schedule_.num_chunks)
            reject("there are " + std::to_string(schedule_.num_chunks) + " chunks",
                   "chunks count from 0");
        if (action.microbatch >= schedule_.num_microbatches)
            reject("there are " + std::to_string(schedule_.num_microbatches) + " micro-batches",
                   "micro-batches count from 0");
        std::int32_t& owner = schedule_.rank_of_chunk[static_cast<std::size_t>(action.chunk)];
        if (owner >= 0 && owner != rank)
            reject("chunk " + std::to_string(action.chunk) + " is already on rank " +
                       std::to_string(owner),
                   "keep each chunk on one rank");
        owner = rank;
        return action;
    }

    std::string_view rest_, source_, line_;
    int line_number_ = 0;
    Schedule schedule_;
    std::vector<bool> have_rank_;
    bool have_sizes_ = false;
};

} // namespace

std::string text_of(const Action& action)
{
    std::string text;
    append(text, action);
    return text;
}

std::string text_of(const Schedule& schedule)
{
    std::string text = "ranks " + std::to_string(schedule.num_ranks()) + " chunks " +
                       std::to_string(schedule.num_chunks) + " microbatches " +
                       std::to_string(schedule.num_microbatches) + "\n";
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
        text += std::to_string(rank) + ":";
        for (const Action& action : schedule.actions[rank]) {
            text += ' ';
            append(text, action);
        }
        text += '\n';
    }
    return text;
}

Schedule parse_schedule(std::string_view text, std::string_view source)
{
    return Parser(text, source).parse();
}

} // namespace sluice
