import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.util.Set;

/**
 * Believe Doorward's signature and no header: for Jakarta servlets. Needs
 * com.nimbusds:nimbus-jose-jwt, which keeps the keys for five minutes.
 *
 * <p>{@code getRemoteUser()} is the user who was signed for; the request's attribute
 * {@code doorward} has the claims.
 */
public class DoorwardFilter extends HttpFilter {
  private final DefaultJWTProcessor<SecurityContext> processor = new DefaultJWTProcessor<>();

  public DoorwardFilter(String keysUrl, String issuer, String audience) throws IOException {
    JWKSource<SecurityContext> keys =
        JWKSourceBuilder.create(URI.create(keysUrl).toURL()).build();
    processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.ES256, keys));
    processor.setJWTClaimsSetVerifier(
        new DefaultJWTClaimsVerifier<>(
            audience,
            new JWTClaimsSet.Builder().issuer(issuer).build(),
            Set.of("sub", "iat", "exp", "preferred_username")));
  }

  @Override
  protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    JWTClaimsSet claims;
    String user;
    try {
      claims = processor.process(request.getHeader("X-Doorward-Assertion"), null);
      user = claims.getStringClaim("preferred_username");
    } catch (Exception refused) { // missing, forged, expired or for another application
      response.sendError(HttpServletResponse.SC_UNAUTHORIZED);
      return;
    }
    request.setAttribute("doorward", claims);
    HttpServletRequestWrapper known =
        new HttpServletRequestWrapper(request) {
          @Override
          public String getRemoteUser() {
            return user;
          }
        };
    chain.doFilter(known, response);
  }
}
