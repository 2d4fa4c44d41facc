"""What a manifest says of a tokenizer and of a grammar: facts that a build stores and that a verification works out again."""

from syntaxdiff.pipeline.shard import LanguageKinds, TokenIds
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import Template
from syntaxdiff.pipeline.tokens.tokenizer import HubTokenizer


def token_ids_of(tokenizer: HubTokenizer, template: Template, codec: Codec) -> TokenIds:
    """The special ids of a tokenizer and its chat template."""
    end_ids = tuple(piece.token_id for piece in template.end if piece.token_id is not None)
    after_end = [index + 1 for index, piece in enumerate(template.middle) if piece.token_id in end_ids]
    header = template.middle[max(after_end, default=0) :]
    header = header[1:] if header and not header[0].text.strip() else header  # the line end of the user's turn
    return TokenIds(
        mask=tokenizer.mask_token_id,
        pad=tokenizer.pad_token_id,
        eos=tokenizer.eos_token_id,
        bos=tokenizer.bos_token_id,
        end_of_turn=end_ids,
        assistant_header=codec.piece_ids(header),
    )


def node_kinds_of(language: str) -> LanguageKinds:
    """The node kinds of a language's installed grammar."""
    grammar = load_grammar(language)
    return LanguageKinds(node_kinds=grammar.node_kinds, named=tuple(grammar.named.tolist()), grammar=grammar.origin)
